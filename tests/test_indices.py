"""Indices go by type: random tables in plates opened in any order, read in any spelling, against sums in plain loops."""

import math
import types
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from meant_tables import cells, log_prob_of, mean_of, random_batch, shape_of, value_of
from random_tables import Draft, Own, Read, drawn
from torch import Tensor

from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source


def module_of(text: str) -> Any:
    code = compile_spec(Source("tables.vispec", text))
    space = types.ModuleType("tables").__dict__
    exec(code, space)
    return space[class_of(code)]().double()


def compiled(draft: Draft) -> tuple[Any, str, bool]:
    """The module in a random spelling; where that can be read in two ways, or cannot be told, with every index in its place."""
    text = draft.text(plain=False)
    try:
        return module_of(text), text, True
    except SpecError as error:
        if not {d.code for d in error.diagnostics if d.severity == "error"} <= {"V217", "V218"}:
            raise
    text = draft.text(plain=True)
    return module_of(text), text, False


def compare(seed: int) -> bool:
    """Compare log p and its gradients; whether the first spelling was understood."""
    draft = drawn(seed)
    torch.manual_seed(seed)
    module, text, understood = compiled(draft)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    batch = random_batch(draft, 2)
    shared = tuple(value.detach().requires_grad_() for value in module.shared()) if hasattr(module, "shared") else ()
    latents = [table.name for table in draft.tables if table.role == "latent"]
    kept = [name for name in latents if name in read_in([o.terms for o in draft.outcomes])]
    tables = {table.name: getattr(module, table.name) for table in draft.tables if table.role == "param"}
    tables |= dict(zip(kept, shared[:-1], strict=True)) if shared else {}
    outputs_are_nested(draft, module, batch, tables, text)
    own = module.log_prob(batch, shared) if shared else module.log_prob(batch)
    meant = torch.stack([log_prob_of(draft, batch, row, tables) for row in range(2)])
    torch.testing.assert_close(own.detach(), meant.detach(), rtol=1e-11, atol=1e-11, msg=lambda m: f"{text}\n{m}")
    assert own.requires_grad == meant.requires_grad, text
    if not own.requires_grad:
        return understood
    by = [*module.parameters(), *shared[:-1]]
    left, right = (torch.autograd.grad(each.sum(), by, materialize_grads=True, allow_unused=True) for each in (own, meant))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9, msg=lambda m: f"{text}\n{m}")
    return understood


def outputs_are_nested(draft: Draft, module: Any, batch: dict[str, Tensor], tables: dict[str, Tensor], text: str) -> None:
    """What leaves the module has its plates as they are nested: draws, predictions, deterministic nodes."""
    found = module.sample(2, batch)
    for node in (*draft.pointers, *draft.outcomes):
        assert found[node.name].shape == (2, *shape_of(draft, node.nest)), (node.name, text)
    for let in draft.tables:
        if let.role == "let" and roles_in(let.terms) == {"param"}:
            own = Read(let, tuple(map(Own, let.plates)))
            meant = torch.stack([value_of(draft, own, at, {}, tables) for at in cells(draft, let.plates)])
            meant = meant.view(shape_of(draft, let.plates))
            torch.testing.assert_close(getattr(module, let.name), meant, msg=lambda m: f"{text}\n{m}")
    if any(p.latent for p in draft.pointers) or hasattr(module, "shared"):
        return
    means = module.predict(batch, "mean")
    for outcome in (each for each in draft.outcomes if each.law in ("real", "bit")):
        meant = torch.stack([mean_of(draft, outcome, batch, row, tables) for row in range(2)])
        torch.testing.assert_close(means[outcome.name], meant.detach(), msg=lambda m: f"{text}\n{m}")


def roles_in(terms: tuple[tuple[float, Read], ...]) -> set[str]:
    """What a sum reads, through lets."""
    tables = [read.table for _, read in terms]
    return set[str]().union(*(roles_in(table.terms) if table.terms else {table.role} for table in tables))


def read_in(terms: Iterable[tuple[tuple[float, Read], ...]]) -> set[str]:
    """The tables that sums read, through lets."""
    tables = [read.table for each in terms for _, read in each]
    return {table.name for table in tables}.union(*(read_in([table.terms]) for table in tables))


@pytest.mark.parametrize("part", range(4))
def test_random_tables(part: int) -> None:
    understood = [compare(seed) for seed in range(40 * part, 40 * (part + 1))]
    assert sum(understood) > 30


CLASSES = """
size K = 2
size I = 3
{openings}
param w : simplex[K]
plate n:
    latent c : {type} ~ Categorical(w)
    plate item:
        observed y : bit ~ Bernoulli(p[{index}])
"""
UNDER = "plate item[I]:\n    plate kind[K]:\n        param p : unit"
LATENT_CLASSES = [
    ("plate item[I]:\n    param p : unit[K]", "category[K]", "c"),
    ("plate item[I]:\n    param p : unit[K]", "category[K]", "item, c"),
    ("plate kind[K]: param other : real\nplate item[I]:\n    param p : unit[K]", "index[kind]", "c"),
    (UNDER, "index[kind]", "c"),
    (UNDER, "index[kind]", "c, item"),
    (UNDER, "category[K]", "c"),
    ("plate kind[K]: param other : real\n" + UNDER.replace("[K]:", ":"), "index[kind]", "c"),
    (
        "plate kind[K]:\n    plate item[I]:\n        param other : real\n" + UNDER.replace("[K]:", ":").replace("[I]", ""),
        "index[kind]",
        "c",
    ),
    (
        "plate kind[K]:\n    plate item[I]:\n        param other : real\n" + UNDER.replace("[K]:", ":").replace("[I]", ""),
        "category[K]",
        "item, c",
    ),
]


@pytest.mark.parametrize(("openings", "type", "index"), LATENT_CLASSES)
def test_latent_classes(openings: str, type: str, index: str) -> None:
    module = module_of(CLASSES.format(openings=openings, type=type, index=index))
    p = torch.tensor([[0.9, 0.2], [0.3, 0.7], [0.6, 0.4]], dtype=torch.float64)
    module.p, module.w = p, torch.tensor([0.25, 0.75], dtype=torch.float64)
    y = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    of_class = [
        [torch.stack([p[i, c] if y[n, i] else 1 - p[i, c] for i in range(3)]).prod() for c in range(2)] for n in range(2)
    ]
    meant = torch.stack([(0.25 * a + 0.75 * b).log() for a, b in of_class])
    torch.testing.assert_close(module.log_prob({"y": y}).detach(), meant)


def test_sizes_match_as_they_are_written() -> None:
    """The value of a size, in the spec or by `--set`, does not decide what an index picks."""
    text = """
size K = 2
size J = {J}
plate k[K]:
    plate j[J]:
        param m : real
plate n:
    given c : category[J]
    plate k:
        observed x : real ~ Normal(m[c], 1)
"""
    for size in (2, 3):
        module = module_of(text.format(J=size))
        x, c = torch.zeros(2, 2, dtype=torch.float64), torch.tensor([1, 0])
        meant = [sum(-0.5 * module.m[k, c[n]] ** 2 - 0.5 * math.log(2 * math.pi) for k in range(2)) for n in range(2)]
        torch.testing.assert_close(module.log_prob({"x": x, "c": c}), torch.stack(meant))  # pyright: ignore[reportArgumentType]


def test_starts_and_points_of_crossed_plates() -> None:
    """A start from the data and a point estimate reach the elements that the indices mean."""
    module = module_of("""
plate a[2]:
    param u : real
plate b[3]:
    plate a:
        param m : real
        latent w : real ~ Normal(0, 1)
plate n:
    given i : index[b]
    given j : index[a]
    observed x : real ~ Normal(m[j, i], 1)
    observed y : real ~ Normal(w[i, j], 1)
infer:
    w : map()
""")
    i, j = (each.flatten() for each in torch.meshgrid(torch.arange(3), torch.arange(2), indexing="ij"))
    true = torch.arange(6.0, dtype=torch.float64).view(3, 2)
    batch = {"i": i, "j": j, "x": true.flatten(), "y": 10 - true.flatten()}
    module.initialise(batch)
    start = (true + true.mean()) / 2  # each drawn towards all as by one element
    torch.testing.assert_close(module.m.detach(), start)
    torch.testing.assert_close(module.w_point.detach(), 10 - start)
    torch.testing.assert_close(module.shared()[0].detach(), 10 - start)


UNREAD = {
    "sums of two": ("", "let total = sum(z[*]) + sum(w[*])"),
    "through another": ("", "let total = sum(z[*])\n    let twice = 2 * total + sum(w[*])"),
    "beside one that is read": ("let seen = sum(z[*])\n    observed out : real ~ Normal(seen, 1)", "let other = sum(w[*])"),
    "of one": ("", "let total = max(z[*])"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_let_that_no_law_reads(name: str) -> None:
    """It changes neither log p nor how it is computed."""
    text = """
param q : unit
plate n:
    plate site:
        latent z : bit ~ Bernoulli(q)
        latent w : bit ~ Bernoulli(0.3)
        observed x  : real ~ Normal(z, 1)
        observed x2 : real ~ Normal(w, 1)
    {read}
    {unread}
"""
    read, unread = UNREAD[name]
    texts = [compile_spec(Source("tables.vispec", text.format(read=read, unread=each))) for each in (unread, "")]
    with_it, without = (each.split("def log_prob(")[1].split("    def ")[0] for each in texts)
    assert with_it == without
