"""A dependency tree: each element of a plate has one head, one hangs from the root, and no heads run in a circle.

    Z = Σ_trees Π_i exp arcs[i, head of i]

The node: Structure("tree", given=(arcs,), binds=(plate i, state)). The state's axis has one value more than the plate has
elements: 0 is the root, h + 1 element h. A tree of no elements has Z = 1; along a ragged plate arcs of and to what is past the
length are not read. With the setting one_root=False any number of elements may hang from the root.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vispec.lazy import torch
from vispec.program.node import Node, Structure
from vispec.structures.calls import kernel
from vispec.structures.entry import Group, StructureKind
from vispec.structures.trees import OPTIONS, TREE, form_of, is_of, number_by, settings, sum_by_rows, valid_by

if TYPE_CHECKING:
    from torch import Tensor

    from vispec.program.cost import Numbers

FILE = "vispec.kernels.trees.tree"


def recognises(group: Group) -> bool:
    return is_of(group, projective=False)


def terms(group: Group, numbers: Numbers) -> int:
    """n³: each element is eliminated from all arcs that are left."""
    return numbers.of(group.plate) ** 2 * numbers.elements(group.states)


def log_sum_of(arcs: Tensor, one_root: bool) -> Tensor:
    """By elimination without subtractions in log space: the root's child is chosen first, or the root is an element itself."""
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    if not one_root:
        return below(torch.cat([torch.full_like(arcs[:1], -torch.inf), arcs]), 0)
    return log_sum_exp(torch.stack([arcs[child, 0] + below(arcs[:, 1:], child) for child in range(arcs.shape[0])]))


def below(arcs: Tensor, root: int) -> Tensor:
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


ENTRY = StructureKind(
    "tree",
    recognises,
    terms,
    partial(form_of, "tree"),
    partial(sum_by_rows, log_sum_of),
    "one elimination an element",
    call,
    called="a tree",
    summed="trees",
    domain=TREE,
    options=OPTIONS,
    number=partial(number_by, f"{FILE}:log_number_of_trees"),
    valid=partial(valid_by, f"{FILE}:is_tree"),
    settings=settings,
    decide=f"{FILE}:decide_tree",
)
