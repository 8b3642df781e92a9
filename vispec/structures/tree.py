"""A dependency tree: each element of a plate has one head, one hangs from the root, and no heads run in a circle.

    Z = Σ_trees Π_i exp arcs[i, head of i]

The node: Structure("tree", given=(arcs,), binds=(plate i, state)). The state's axis has one value more than the plate has
elements: 0 is the root, h + 1 element h. A tree of no elements has Z = 1; along a ragged plate arcs of and to what is past the
length are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.node import Call, Node, Part, Structure
from vispec.structures.calls import kernel, lengths_of
from vispec.structures.entry import Group, StructureKind, laid_over, with_lengths

if TYPE_CHECKING:
    from torch import Tensor

    from vispec.program.cost import Numbers


def recognises(group: Group) -> bool:
    return group.shape == "tree" and not group.pasts and len(group.states) == 1


def terms(group: Group, numbers: Numbers) -> int:
    """n³: each element is eliminated from all arcs that are left."""
    return numbers.of(group.plate) ** 2 * numbers.elements(group.states)


def form(group: Group, factors: Sequence[Node], algebra: str) -> Node:
    arcs = with_lengths(laid_over(build.add(*factors), (group.plate, *group.states)), group.plate)
    return Structure("tree", (arcs,), (group.plate, *group.states), (), algebra)


def log_sum(node: Structure, given: Sequence[Any], world: Any, values: Any) -> Any:
    """The sum over all trees, one row after the other, by elimination without subtractions in log space, in float64."""
    from vispec.program.interpreter.interpret import Array

    plate, state = node.binds
    kept = ordered(node.axes)
    shape, n = [world.extent(axis) for axis in kept], world.extent(plate)
    arcs = given[0].laid((*kept, plate, state)).expand(*shape, n, n + 1).reshape(-1, n, n + 1)
    lengths = torch.tensor(n) if plate.lengths is None else values[plate.lengths].laid(kept)
    sizes = lengths.expand(shape).reshape(-1).tolist()
    rows = [_one(row[:size, : size + 1]) for row, size in zip(arcs, sizes, strict=True)]
    found = torch.stack(rows) if rows else torch.zeros(0, dtype=torch.float64)
    return Array(found.reshape(shape), kept)


def _one(arcs: Tensor) -> Tensor:
    """log Z of one tree, arcs (n, 1 + n). Choose the root's child first: then elements are eliminated from the last on."""
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    n = arcs.shape[0]
    if n == 0:
        return torch.zeros((), dtype=torch.float64)
    return log_sum_exp(torch.stack([arcs[child, 0] + _below(arcs[:, 1:], child) for child in range(n)]))


def _below(arcs: Tensor, root: int) -> Tensor:
    """log Σ over the trees of n elements that hang from element `root`, arcs (n, n) by element and head.

    Eliminating element k of weight s, the sum of its arcs, multiplies Z by s, and each element j that hangs from k may hang
    from k's heads h instead: w(h → j) += w(h → k) w(k → j) / s."""
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    n = arcs.shape[0]
    left, total = [each for each in range(n) if each != root], torch.zeros((), dtype=torch.float64)
    weight = {(j, h): arcs[j, h] for j in left for h in range(n) if j != h}
    while left:
        k = left.pop()
        heads = [root, *left]
        s = log_sum_exp(torch.stack([weight[k, h] for h in heads]))
        total = total + s
        for j in left:
            for h in heads:
                if h != j:
                    share = torch.where(s == -torch.inf, -torch.inf, weight[k, h] - torch.where(s == -torch.inf, 0.0, s))
                    weight[j, h] = log_sum_exp(torch.stack([weight[j, h], share + weight[j, k]]))
    return total


def call(node: Structure) -> Node:
    """As tree_log_prob takes it."""
    return kernel(node, f"{FILE}:tree_log_prob", f"{FILE}:tree_total", [(node.given[0], node.binds)], node.binds[0])


FILE = "vispec.kernels.sums.tree"


def number(plate: Axis) -> Node:
    """log n^(n-1) for the trees with one root of n elements."""
    given = ((build.apply("real", build.count(plate)), (), ""),)
    return Part(Call("kernel", f"{FILE}:log_number_of_trees", given, (((), "real"),), ()), 0)


def valid(heads: Node, plate: Axis) -> Node:
    """Whether heads are those of a tree with one root."""
    given = ((heads, (plate,), ""), *lengths_of(plate))
    return Part(Call("kernel", f"{FILE}:is_tree", given, (((), "bool"),), ()), 0)


ENTRY = StructureKind(
    "tree", recognises, terms, form, log_sum, "one elimination an element", call, number, valid, "a tree", "trees"
)
