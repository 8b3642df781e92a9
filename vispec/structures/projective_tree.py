"""A projective dependency tree: all elements between an element and its head hang, through others, from that head.

    Z = Σ_trees Π_i exp arcs[i, head of i]

The node: Structure("projective_tree", given=(arcs,), binds=(plate i, state)), all as of the tree: the root is the state's value
0, and stands before the first element; one hangs from it, or any number with the setting one_root=False.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from vispec.lazy import torch
from vispec.program.node import Node, Structure
from vispec.structures.calls import kernel
from vispec.structures.entry import Group, StructureKind
from vispec.structures.trees import OPTIONS, TREE, form_of, is_of, number_by, settings, sum_by_rows, valid_by

if TYPE_CHECKING:
    from torch import Tensor

    from vispec.program.cost import Numbers

FILE = "vispec.kernels.trees.projective"


def recognises(group: Group) -> bool:
    return is_of(group, projective=True)


def terms(group: Group, numbers: Numbers) -> int:
    """n³ at most: of each of the n² / 2 stretches three sums over its places, of which it has n / 3 on average."""
    return numbers.of(group.plate) ** 2 * numbers.elements(group.states)


def log_sum_of(arcs: Tensor, one_root: bool) -> Tensor:
    """A stretch of elements that all hang from its first or its last one is an arc to some element, what hangs there beyond it,
    and two stretches on this side (Eisner 1996). The root is an element before all others, number 0."""
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    n = arcs.shape[0]

    @cache
    def complete(i: int, j: int, head: int) -> Tensor:
        """Trees of the elements i..j that hang from `head`, which is i or j."""
        if i == j:
            return torch.zeros((), dtype=torch.float64)
        if head == i:
            return log_sum_exp(torch.stack([laid(i, k, i) + complete(k, j, k) for k in range(i + 1, j + 1)]))
        return log_sum_exp(torch.stack([complete(i, k, k) + laid(k, j, j) for k in range(i, j)]))

    @cache
    def laid(i: int, j: int, head: int) -> Tensor:
        """The same where the other end hangs from `head` itself and nothing of them hangs beyond it."""
        places = torch.stack([complete(i, k, i) + complete(k + 1, j, j) for k in range(i, j)])
        return arcs[(j if head == i else i) - 1, head] + log_sum_exp(places)

    if not one_root:
        return complete(0, n, 0)
    return log_sum_exp(torch.stack([complete(1, r, r) + complete(r, n, r) + arcs[r - 1, 0] for r in range(1, n + 1)]))


def call(node: Structure) -> Node:
    """As projective_log_prob takes it."""
    given = [(node.given[0], node.binds)]
    return kernel(node, f"{FILE}:projective_log_prob", f"{FILE}:projective_total", given, node.binds[0])


ENTRY = StructureKind(
    "projective_tree",
    recognises,
    terms,
    partial(form_of, "projective_tree"),
    partial(sum_by_rows, log_sum_of),
    "one chart over stretches",
    call,
    called="a projective tree",
    summed="projective trees",
    domain=TREE,
    options=OPTIONS,
    number=partial(number_by, f"{FILE}:log_number_of_projective"),
    valid=partial(valid_by, f"{FILE}:is_projective"),
    settings=settings,
    decide=f"{FILE}:decide_projective",
)
