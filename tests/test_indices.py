"""Indices go by type: random tables in plates opened in any order, read in any spelling, against sums in plain loops."""

import types
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from random_tables import Draft, Own, Read, cells, drawn, log_prob_of, mean_of, random_batch, shape_of, value_of
from torch import Tensor, nn

from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source


def module_of(text: str) -> nn.Module:
    code = compile_spec(Source("tables.vispec", text))
    space = types.ModuleType("tables").__dict__
    exec(code, space)
    return space[class_of(code)]().double()


def compiled(draft: Draft) -> tuple[nn.Module, str, bool]:
    """The module in a random spelling; where that can be read in two ways, or cannot be told, with every index in its place."""
    text = draft.text(plain=False)
    try:
        return module_of(text), text, True
    except SpecError as error:
        assert {d.code for d in error.diagnostics if d.severity == "error"} <= {"V217", "V218"}, (text, error)
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
    own = module.log_prob(batch, shared) if shared else module.log_prob(batch)  # pyright: ignore[reportCallIssue]
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
            cells_of_let = [value_of(draft, Read(let, tuple(map(Own, let.plates))), at, {}, tables) for at in cells(draft, let.plates)]
            meant = torch.stack(cells_of_let).view(shape_of(draft, let.plates))
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
