"""Structures: the sum of each, as its node is interpreted, against every assignment; gradients are posterior probabilities."""

import itertools

import pytest
import torch
from torch import Tensor

from tests.structures.assignments import close, is_tree, value
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Const, Input, Node, Structure
from vispec.program.size import Size
from vispec.structures import structures
from vispec.structures.elements import at_element, from_element
from vispec.structures.entry import Group, Shape


def axis(hint: str, kind: str, size: int) -> Axis:
    return Axis(hint, kind, Size.of(size))  # type: ignore[arg-type]


def drawn(*shape: int, zeros: bool, generator: torch.Generator) -> Tensor:
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    return (x.masked_fill(torch.rand(shape, generator=generator) < 0.3, -torch.inf) if zeros else x).requires_grad_()


def by_order(n: int, T: int, K: int, zeros: bool, seed: int) -> tuple[Node, dict[str, Tensor], list[Tensor]]:
    """A chain of order n: its node, numbers, and a term for each path."""
    t, c = axis("t", "plate", T), axis("c", "values", K)
    pasts = [axis(f"c_{lag}", "values", K) for lag in range(1, n + 1)]
    generator = torch.Generator().manual_seed(seed)
    inputs = {"seen": drawn(T, K, zeros=zeros, generator=generator)}
    inputs |= {f"law{lag}": drawn(*[K] * (lag + 1), zeros=zeros, generator=generator) for lag in range(n)}
    inputs["step"] = drawn(T, *[K] * (n + 1), zeros=zeros, generator=generator)
    laws = [Input(f"law{lag}", (*reversed(pasts[:lag]), c), "real", "batch") for lag in range(n)]
    step, seen = Input("step", (t, *reversed(pasts), c), "real", "batch"), Input("seen", (t, c), "real", "batch")
    (entry,) = [each for each in structures().values() if each.recognises(Group(t, (c,), tuple((past,) for past in pasts)))]
    node = Structure(entry.name, (*laws, step, seen), (t, *reversed(pasts), c), (), "sum")
    terms = []
    for path in itertools.product(range(K), repeat=T):
        total = torch.zeros((), dtype=torch.float64)
        for now, z in enumerate(path):
            back = tuple(path[max(now - n, 0) : now])
            total = total + inputs["seen"][now, z] + (inputs["step"][now] if now >= n else inputs[f"law{now}"])[(*back, z)]
        terms.append(total)
    return node, inputs, terms


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(("T", "K"), [(1, 3), (2, 3), (3, 2), (5, 2), (4, 3)])
@pytest.mark.parametrize("zeros", [False, True])
def test_chains(n: int, T: int, K: int, zeros: bool) -> None:
    for seed in range(3):
        close(*by_order(n, T, K, zeros, seed))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("zeros", [False, True])
def test_trees(n: int, zeros: bool) -> None:
    i, head = axis("i", "plate", n), axis("head", "values", n + 1)
    for seed in range(3):
        inputs = {"arcs": drawn(n, n + 1, zeros=zeros, generator=torch.Generator().manual_seed(seed))}
        node = Structure("tree", (Input("arcs", (i, head), "real", "batch"),), (i, head), (), "sum")
        trees = [heads for heads in itertools.product(range(n + 1), repeat=n) if is_tree(heads)]
        close(node, inputs, [sum(inputs["arcs"][e, h] for e, h in enumerate(heads)) for heads in trees])  # type: ignore[misc]


def test_lengths_of_trees() -> None:
    row, size = axis("row", "plate", 4), 3
    i = Axis("i", "plate", Size.of(size), Input("len", (row,), "int", "batch"))
    head = axis("head", "values", size + 1)
    inputs = {"len": torch.tensor([0, 1, 2, 3]), "arcs": torch.randn(4, size, size + 1, dtype=torch.float64)}
    node = Structure("tree", (Input("arcs", (row, i, head), "real", "batch"),), (i, head), (), "sum")
    found = value(node, inputs)
    for n, each in enumerate(inputs["arcs"]):
        trees = [heads for heads in itertools.product(range(n + 1), repeat=n) if is_tree(heads)]
        terms = torch.tensor([sum(each[e, h].item() for e, h in enumerate(heads)) for heads in trees], dtype=torch.float64)
        torch.testing.assert_close(found[n], terms.logsumexp(0))


def test_what_structures_cost() -> None:
    t, c, d = axis("t", "plate", 20), axis("c", "values", 7), axis("d", "values", 3)
    one, two, three = ((axis(f"c{n}", "values", 7),) for n in range(3))
    kinds = {
        Group(t, (c,), (one,)): ("chain", 20 * 7**2),
        Group(t, (c, d), ((*one, axis("d1", "values", 3)),)): ("chain", 20 * 21**2),
        Group(t, (c,), (one, two)): ("second_order_chain", 20 * 7**3),
        Group(t, (axis("h", "values", 21),), (), Shape("tree")): ("tree", 20 * 20 * 21),
    }
    for group, (name, terms) in kinds.items():
        (entry,) = [each for each in structures().values() if each.recognises(group)]
        assert (entry.name, entry.terms(group, Numbers())) == (name, terms)
    assert not [each for each in structures().values() if each.recognises(Group(t, (c,), (one, two, three)))]


def test_what_is_known_at_an_element_is_folded() -> None:
    from vispec.program import build

    t = axis("t", "plate", 5)
    first, later = Input("a", (), "real", "batch"), Input("b", (t,), "real", "batch")
    law = build.where(build.lt(build.position(t), 1), first, later)
    assert at_element(law, t, 0) is first
    assert at_element(law, t, 2) is build.pick(later, {t: 2})
    assert from_element(law, t, 1) is later
    assert from_element(law, t, 0) is law
    assert at_element(build.eq(build.position(t), 3), t, 3) is Const(True)
    before = build.scan("min", later, t, float("inf"))
    steps = build.exp(build.where(build.lt(build.position(t), 1), 0.0, before))
    assert from_element(steps, t, 1) is build.exp(build.scan("min", later, t, 0.0))
    assert from_element(steps, t, 0) is steps
    past = build.shift(later, t, 1, 0.0)
    assert at_element(past, t, 0) is Const(0.0)
    assert at_element(past, t, 4) is build.pick(later, {t: 3})
