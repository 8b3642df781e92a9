"""What structures of parses have in common: the score of one that data tell, and whether it is one
(kernels/trees/brackets.py)."""

from __future__ import annotations

from vispec.program.axis import Axis
from vispec.program.node import Call, Input, Node, Part
from vispec.structures.calls import Given, lengths_of
from vispec.structures.entry import Shape

FILE = "vispec.kernels.trees.brackets"


def scored(kernel: str, given: Given, told: Node, plate: Axis) -> Node:
    """The score of one, by a kernel of the parts' scores."""
    return Part(Call("kernel", kernel, (*given, own(told, plate), *lengths_of(plate)), (((), "real"),), ()), 0)


def valid(fewest: int, told: Node, plate: Axis, shape: Shape) -> Node:
    """Whether what is told is one whole parse of so many elements at least."""
    settings = (("fewest", fewest),)
    return Part(Call("kernel", f"{FILE}:is_parse", (own(told, plate), *lengths_of(plate)), (((), "bool"),), settings), 0)


def own(told: Node, plate: Axis) -> tuple[Node, tuple[Axis, ...], str]:
    assert isinstance(told, Input)
    return told, (plate, told.order[-1]), ""
