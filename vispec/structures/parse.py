"""A parse by a grammar: a binary tree over the elements of a plate, whose nodes have symbols and whose elements preterminals.

    Z = Σ_parses exp(root[top] + Σ_nodes (rule[parent, left, right] + over[first, last, parent]) + Σ_i seen[i, preterminal])

The node: Structure("parse", given=(root, rule, seen), binds=(plate i, state, parent, left, right)), or with a fourth
potential, over, and a sixth axis, last, that of last elements. state is the axis of preterminals; parent that of symbols; left
and right have the symbols, then the preterminals. Fewer than two elements have no parse: Z = 0. Along a ragged plate what is
past the length is not read.
"""

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

FILE = "vispec.kernels.trees.grammar"
BRACKETS = "vispec.kernels.trees.brackets"


def recognises(group: Group) -> bool:
    return group.shape is not None and group.shape.domain == "parse" and not group.pasts and len(group.states) in (1, 4, 5)


def terms(group: Group, numbers: Numbers) -> int:
    """Of each stretch: each way to divide it, for each two symbols; and each rule."""
    n = numbers.of(group.plate)
    _, parent, left, right, *_ = group.states
    return n * n * (n * numbers.elements((parent,)) ** 2 + numbers.elements((parent, left, right)))


def form(group: Group, factors: Sequence[Node], algebra: str) -> Node:
    """What reads children is a rule, what reads a parent alone is of the root, and the rest is seen of the elements."""
    state, parent, left, right, *last = group.states
    over = [each for each in factors if each.axes & {*last}]
    factors = [each for each in factors if each not in over]
    rules = [each for each in factors if each.axes & {left, right}]
    roots = [each for each in factors if parent in each.axes and each not in rules]
    rest = [each for each in factors if each not in rules and each not in roots] or [build.node(0.0)]
    rule, root = (build.pick(build.add(*each), {state: 0}) for each in (rules, roots))
    seen = with_lengths(laid_over(build.add(*rest), (group.plate, state)), group.plate)
    given = (laid_over(root, (parent,)), laid_over(rule, (parent, left, right)), seen)
    if over:
        beside = build.pick(build.add(*over), {state: 0})
        given = (*given, laid_over(beside, (group.plate, *last, parent)))
    return Structure("parse", given, (group.plate, *group.states), (), algebra)


def log_sum(node: Structure, given: Sequence[Any], world: Any, values: Any) -> Any:
    """Stretch by stretch in float64."""
    from vispec.program.interpreter.interpret import Array

    plate, state, parent, left, right, *last = node.binds
    kept = ordered(node.axes)
    shape, n = [world.extent(axis) for axis in kept], world.extent(plate)
    own = ((parent,), (parent, left, right), (plate, state), *([(plate, *last, parent)] if last else []))
    laid = [
        each.laid((*kept, *axes)).expand(*shape, *map(world.extent, axes)).reshape(-1, *map(world.extent, axes))
        for each, axes in zip(given, own, strict=True)
    ]
    lengths = torch.tensor(n) if plate.lengths is None else values[plate.lengths].laid(kept)
    sizes = lengths.expand(shape).reshape(-1).tolist()
    rows = [of_row(root, rule, seen[:size], *over) for root, rule, seen, *over, size in zip(*laid, sizes, strict=True)]
    found = torch.stack(rows) if rows else torch.zeros(0, dtype=torch.float64)
    return Array(found.reshape(shape), kept)


def of_row(root: Tensor, rule: Tensor, seen: Tensor, beside: Tensor | None = None) -> Tensor:
    """log Z of one row: root (S,), rule (S, S + P, S + P), seen (n, P), beside (n, n, S)."""
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    n, S = len(seen), len(root)
    if n < 2:
        return torch.full((), -torch.inf, dtype=torch.float64)
    none = [torch.full((size,), -torch.inf, dtype=torch.float64) for size in (S, seen.shape[1])]
    over = {(i, i): torch.cat([none[0], seen[i]]) for i in range(n)}  # by first and last element: all children
    for width in range(1, n):
        for i in range(n - width):
            j = i + width
            ways = [over[i, k][:, None] + over[k + 1, j] for k in range(i, j)]
            each = torch.stack([rule + way for way in ways], 1).flatten(1)  # (S, ways and pairs)
            top = log_sum_exp(each) if beside is None else log_sum_exp(each) + beside[i, j]
            over[i, j] = torch.cat([top, none[1]])
    return log_sum_exp(root + over[0, n - 1][:S])


def call(node: Structure) -> Node:
    """As grammar_log_prob takes it."""
    plate, state, parent, left, right, *last = node.binds
    own = ((parent,), (parent, left, right), (plate, state))
    given = list(zip(node.given, own, strict=False))
    more = tuple((each, (plate, *last, parent), "over") for each in node.given[3:])
    return kernel(node, f"{FILE}:grammar_log_prob", f"{FILE}:grammar_total", given, plate, more)


def score(group: Group, parts: Mapping[str, Node], told: Node) -> Node:
    """Of one that data tell."""
    _, parent, left, right, *_ = group.states
    given = ((parts["root"], (parent,), ""), (parts["rule"], (parent, left, right), ""))
    return scored(f"{BRACKETS}:grammar_score", given, told, group.plate)


ENTRY = StructureKind(
    "parse",
    recognises,
    terms,
    form,
    log_sum,
    "the inside algorithm",
    call,
    whole=False,
    called="a parse",
    summed="parses",
    best=("vispec.kernels.trees.ranked_parses:k_best_parses", "apart=True"),
    told={
        "tree": (
            "vispec.kernels.trees.phrases:best_parse",
            "the best parse, its nodes in preorder, each by first element, last element and label.",
        ),
        "tree(sample)": ("vispec.kernels.trees.phrases:drawn_parse", "a parse that is drawn."),
    },
    domain="parse",
    valid=partial(valid, 2),
    score=score,
    fewest=2,
    decide=f"{FILE}:decide_grammar",
)
