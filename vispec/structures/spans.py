"""A binary tree over the elements of a plate whose nodes have labels, each scored by its stretch of elements.

    Z = Σ_trees exp(Σ_nodes spans[first, last, label] + Σ_i seen[i, label of i])

The node: Structure("spans", given=(spans, seen), binds=(plate i, state, last)). state is the axis of labels, which single
elements have as phrases have them; last that of last elements, as many as i has. A tree of no elements is none: Z = 0. Along a
ragged plate what is past the length is not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import ordered
from vispec.program.node import Node, Structure
from vispec.structures.brackets import scored, valid
from vispec.structures.calls import kernel
from vispec.structures.entry import Group, StructureKind, laid_over, with_lengths

if TYPE_CHECKING:
    from torch import Tensor

    from vispec.program.cost import Numbers

FILE = "vispec.kernels.trees.spans"


def recognises(group: Group) -> bool:
    return group.shape is not None and group.shape.domain == "spans" and not group.pasts and len(group.states) in (1, 2)


def terms(group: Group, numbers: Numbers) -> int:
    """Of each stretch its labels, and each way to divide it."""
    n = numbers.of(group.plate)
    return n * n * (n + numbers.elements(group.states[:1]))


def form(group: Group, factors: Sequence[Node], algebra: str) -> Node:
    """What reads last elements is of stretches, the rest is seen of the elements."""
    state, last = group.states
    spans = [each for each in factors if last in each.axes]
    rest = [each for each in factors if each not in spans] or [build.node(0.0)]
    seen = with_lengths(laid_over(build.add(*rest), (group.plate, state)), group.plate)
    given = (laid_over(build.add(*spans), (group.plate, last, state)), seen)
    return Structure("spans", given, (group.plate, state, last), (), algebra)


def log_sum(node: Structure, given: Sequence[Any], world: Any, values: Any) -> Any:
    """Stretch by stretch in float64."""
    from vispec.program.interpreter.interpret import Array

    plate, state, last = node.binds
    kept = ordered(node.axes)
    shape, n = [world.extent(axis) for axis in kept], world.extent(plate)
    K = world.extent(state)
    spans = given[0].laid((*kept, plate, last, state)).expand(*shape, n, n, K).reshape(-1, n, n, K)
    seen = given[1].laid((*kept, plate, state)).expand(*shape, n, K).reshape(-1, n, K)
    lengths = torch.tensor(n) if plate.lengths is None else values[plate.lengths].laid(kept)
    sizes = lengths.expand(shape).reshape(-1).tolist()
    rows = [of_row(one, each, size) for one, each, size in zip(spans, seen, sizes, strict=True)]
    found = torch.stack(rows) if rows else torch.zeros(0, dtype=torch.float64)
    return Array(found.reshape(shape), kept)


def of_row(spans: Tensor, seen: Tensor, size: int) -> Tensor:
    """log Z of one row of so many elements: spans (n, n, K), seen (n, K)."""
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    if size == 0:
        return torch.full((), -torch.inf, dtype=torch.float64)
    over = {(i, i): log_sum_exp(spans[i, i] + seen[i]) for i in range(size)}  # by first and last element
    for width in range(1, size):
        for i in range(size - width):
            j = i + width
            ways = log_sum_exp(torch.stack([over[i, k] + over[k + 1, j] for k in range(i, j)]))
            over[i, j] = ways + log_sum_exp(spans[i, j])
    return over[0, size - 1]


def call(node: Structure) -> Node:
    """As spans_log_prob takes it."""
    plate, state, last = node.binds
    given = [(node.given[0], (plate, last, state)), (node.given[1], (plate, state))]
    return kernel(node, f"{FILE}:spans_log_prob", f"{FILE}:spans_total", given, plate)


def score(group: Group, parts: Mapping[str, Node], told: Node) -> Node:
    """Of one that data tell."""
    state, last = group.states
    return scored(f"{FILE}:spans_score", ((parts["spans"], (group.plate, last, state), ""),), told, group.plate)


ENTRY = StructureKind(
    "spans",
    recognises,
    terms,
    form,
    log_sum,
    "one chart over stretches",
    call,
    whole=False,
    called="a tree of labelled stretches",
    summed="parses",
    domain="spans",
    valid=partial(valid, 1),
    score=score,
    fewest=1,
    decide=f"{FILE}:decide_spans",
    best=("vispec.kernels.trees.ranked_parses:k_best_parses", "apart=False"),
    told={
        "tree": (
            "vispec.kernels.trees.phrases:best_spans",
            "the best parse, its nodes in preorder, each by first element, last element and label.",
        ),
        "tree(sample)": ("vispec.kernels.trees.phrases:drawn_spans", "a parse that is drawn."),
    },
)
