"""Structures as calls of the kernels that sum them: each entry says how its potentials are laid."""

from __future__ import annotations

from vispec.program.axis import Axis
from vispec.program.node import Call, Input, Node, Part, Structure
from vispec.program.size import Size

TOTAL = Input("total", (), "real", "argument")
"""The sum of a query's algebra, which the method is given."""


ONCE = Axis("once", "plate", Size.of(1))
"""One element for all along a chain."""


Given = tuple[tuple[Node, tuple[Axis, ...], str], ...]
"""Arguments of a kernel, with their own axes and, of those that are given by name, that."""


def state_of(axes: tuple[Axis, ...], hint: str = "") -> Axis:
    """One axis for joint states; itself where there is one alone."""
    return axes[0] if len(axes) == 1 else Axis(hint or "_".join(axis.hint for axis in axes), "values", None, None, None, axes)


def lengths_of(plate: Axis, name: str = "") -> tuple[tuple[Node, tuple[Axis, ...], str], ...]:
    """The argument that says how many elements count."""
    return () if plate.lengths is None else ((plate.lengths, (), name),)


def kernel(
    node: Structure, plain: str, total: str, given: list[tuple[Node, tuple[Axis, ...]]], plate: Axis, more: Given = ()
) -> Node:
    """The kernel's call: own axes last, under the structure's algebra. more: arguments by name."""
    arguments = tuple((each, own, "") for each, own in given) + lengths_of(plate) + more
    if node.algebra == "total":
        return Part(Call("kernel", total, ((TOTAL, (), ""), *arguments), (((), "real"),), node.settings), 0)
    return Part(Call("kernel", plain, arguments, (((), "real"),), node.settings), 0)
