"""A projective tree whose heads decide, on each side, whether to go on taking dependents.

    Z = Σ_trees exp(Σ_i arcs[i, head of i, first i] + Σ_h Σ_sides of h its decisions)

The node: Structure("outward_tree", given=(arcs, decisions), binds=(plate i, state, side, first, on)). The state is that of
projective trees with one root. first: whether an element is the first that its head takes on its side, the nearest; decisions,
over plate, side, first and on: of the elements as heads, 0 to stop and 1 to go on, as kernels/trees/outward.py has them. A tree
of no elements has Z = 1; along a ragged plate what is past the length is not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import ordered
from vispec.program.node import Call, Node, Part, Structure
from vispec.structures.calls import kernel, lengths_of
from vispec.structures.entry import Group, StructureKind, laid_over, with_lengths
from vispec.structures.trees import PROJECTIVE, TREE, valid_by

if TYPE_CHECKING:
    from torch import Tensor

    from vispec.program.cost import Numbers

FILE = "vispec.kernels.trees.outward"


def recognises(group: Group) -> bool:
    shape = group.shape
    return (
        shape is not None
        and shape.domain == TREE
        and shape.options == ((PROJECTIVE, True),)
        and not group.pasts
        and len(group.states) == 4
    )


def terms(group: Group, numbers: Numbers) -> int:
    """Of each stretch four sums over its places."""
    return numbers.of(group.plate) ** 2 * numbers.elements(group.states[:1]) * 4


def form(group: Group, factors: Sequence[Node], algebra: str) -> Node:
    """What reads a side or a decision is of the elements as heads, the rest is of arcs."""
    state, side, first, on = group.states
    decisions = [each for each in factors if each.axes & {side, on}]
    arcs = [each for each in factors if each not in decisions] or [build.node(0.0)]
    own = build.pick(build.add(*decisions), {state: 0})
    arcs_ = with_lengths(laid_over(build.add(*arcs), (group.plate, state, first)), group.plate)
    given = (arcs_, laid_over(own, (group.plate, side, first, on)))
    return Structure("outward_tree", given, (group.plate, *group.states), (), algebra)


def log_sum(node: Structure, given: Sequence[Any], world: Any, values: Any) -> Any:
    """Row by row in float64."""
    from vispec.program.interpreter.interpret import Array

    plate, state, side, first, on = node.binds
    kept = ordered(node.axes)
    shape, n = [world.extent(axis) for axis in kept], world.extent(plate)
    arcs = given[0].laid((*kept, plate, state, first)).expand(*shape, n, n + 1, 2).reshape(-1, n, n + 1, 2)
    own = given[1].laid((*kept, plate, side, first, on)).expand(*shape, n, 2, 2, 2).reshape(-1, n, 2, 2, 2)
    lengths = torch.tensor(n) if plate.lengths is None else values[plate.lengths].laid(kept)
    sizes = lengths.expand(shape).reshape(-1).tolist()
    empty = torch.zeros((), dtype=torch.float64)
    rows = [of_row(a[:size], d[:size]) if size else empty for a, d, size in zip(arcs, own, sizes, strict=True)]
    found = torch.stack(rows) if rows else torch.zeros(0, dtype=torch.float64)
    return Array(found.reshape(shape), kept)


def of_row(arcs: Tensor, decisions: Tensor) -> Tensor:
    """log Z of one row of n > 0 elements: arcs (n, 1 + n or more, 2), decisions (n, 2, 2, 2). By its definition: an element
    with what hangs before it down to i, and after it up to j, one dependent after the other."""
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    n = len(decisions)
    none = torch.zeros((), dtype=torch.float64)

    @cache
    def reaches(head: int, end: int) -> Tensor:
        """The dependents of an element on the side of `end` that stand, with all below them, on all places up to there."""
        if head == end:
            return none
        after = int(end > head)
        step = 1 if after else -1
        ways = list[Tensor]()
        for last in range(head + step, end + step, step):  # the last one that is taken
            for edge in range(head, last, step):  # how far those before it reach
                first = int(edge == head)
                arc = arcs[last, 1 + head, first] + decisions[head, after, first, 1]
                ways.append(reaches(head, edge) + arc + closed(last, edge + step, 1 - after) + closed(last, end, after))
        return log_sum_exp(torch.stack(ways))

    def closed(head: int, end: int, side: int) -> Tensor:
        """The same, and it stops there."""
        return reaches(head, end) + decisions[head, side, int(end == head), 0]

    def whole(head: int) -> Tensor:
        return closed(head, 0, 0) + closed(head, n - 1, 1) + arcs[head, 0, 1]

    return log_sum_exp(torch.stack([whole(head) for head in range(n)]))


def call(node: Structure) -> Node:
    """As outward_log_prob takes it."""
    plate, state, side, first, on = node.binds
    given = [(node.given[0], (plate, state, first)), (node.given[1], (plate, side, first, on))]
    return kernel(node, f"{FILE}:outward_log_prob", f"{FILE}:outward_total", given, plate)


def score(group: Group, parts: Mapping[str, Node], told: Node) -> Node:
    """Of heads that data tell."""
    state, side, first, on = group.states
    nothing = build.spread(build.node(0.0), (group.plate, state, first))
    given = (
        (nothing, (group.plate, state, first), ""),
        (build.spread(parts["decisions"], (group.plate,)), (group.plate, side, first, on), ""),
        (told, (group.plate,), ""),
        *lengths_of(group.plate),
    )
    return Part(Call("kernel", f"{FILE}:outward_score", given, (((), "real"),), ()), 0)


ENTRY = StructureKind(
    "outward_tree",
    recognises,
    terms,
    form,
    log_sum,
    "one chart over stretches, with what heads decide",
    call,
    called="a projective tree",
    summed="valence trees",
    domain=TREE,
    valid=partial(valid_by, "vispec.kernels.trees.projective:is_projective"),
    score=score,
)
