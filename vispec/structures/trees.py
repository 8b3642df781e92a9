"""What structures of trees have in common: their one potential, the score of each arc, and the options of laws on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vispec.catalog import Option
from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.node import Call, Node, Part, Structure
from vispec.structures.calls import lengths_of
from vispec.structures.entry import Group, Shape, laid_over, with_lengths

if TYPE_CHECKING:
    from torch import Tensor

TREE = "tree"
PROJECTIVE = "projective"
OPTIONS = {PROJECTIVE: Option("flag", False), "roots": Option("choice", "one", choices=("one", "any"))}


def is_of(group: Group, projective: bool) -> bool:
    """Whether the latents are one tree, with crossing arcs or without, and its law says nothing else of it."""
    shape = group.shape
    return (
        shape is not None
        and shape.domain == TREE
        and shape.says(PROJECTIVE, True) == projective
        and all(name in OPTIONS for name, _ in shape.options)
        and not group.pasts
        and len(group.states) == 1
    )


def settings(shape: Shape | None) -> tuple[tuple[str, Any], ...]:
    """What kernels are told of the roots."""
    return (("one_root", False),) if shape is not None and shape.says("roots", "any") else ()


def form_of(kind: str, group: Group, factors: Sequence[Node], algebra: str) -> Node:
    arcs = with_lengths(laid_over(build.add(*factors), (group.plate, *group.states)), group.plate)
    return Structure(kind, (arcs,), (group.plate, *group.states), settings(group.shape), algebra)


def sum_by_rows(one: Callable[[Tensor, bool], Tensor], node: Structure, given: Sequence[Any], world: Any, values: Any) -> Any:
    """The sum over all trees, row by row, in float64. one: log Z of arcs (n, 1 + n), n > 0, with one root or any number."""
    from vispec.program.interpreter.interpret import Array

    plate, state = node.binds
    kept, one_root = ordered(node.axes), dict(node.settings).get("one_root", True)
    shape, n = [world.extent(axis) for axis in kept], world.extent(plate)
    arcs = given[0].laid((*kept, plate, state)).expand(*shape, n, n + 1).reshape(-1, n, n + 1)
    lengths = torch.tensor(n) if plate.lengths is None else values[plate.lengths].laid(kept)
    sizes = lengths.expand(shape).reshape(-1).tolist()
    empty = torch.zeros((), dtype=torch.float64)
    rows = [one(row[:size, : size + 1], one_root) if size else empty for row, size in zip(arcs, sizes, strict=True)]
    found = torch.stack(rows) if rows else torch.zeros(0, dtype=torch.float64)
    return Array(found.reshape(shape), kept)


def number_by(kernel: str, plate: Axis, shape: Shape) -> Node:
    """The logarithm of how many there are of so many elements."""
    given = ((build.apply("real", build.count(plate)), (), ""),)
    return Part(Call("kernel", kernel, given, (((), "real"),), settings(shape)), 0)


def valid_by(kernel: str, heads: Node, plate: Axis, shape: Shape) -> Node:
    """Whether heads are those of one."""
    given = ((heads, (plate,), ""), *lengths_of(plate))
    return Part(Call("kernel", kernel, given, (((), "bool"),), settings(shape)), 0)
