"""What a program takes, as folds over it: multiply-adds, bytes alive at the peak, operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from vispec.program.axis import Axis
from vispec.program.node import Const, Extent, Input, Node, Number, Position, Rename, Source, Spread
from vispec.program.walk import nodes

TYPICAL = 20  # elements of an axis whose number only the data can tell


@dataclass(frozen=True)
class Numbers:
    """How many elements axes have: by the sizes of the spec, by axis where told, TYPICAL where only the data can tell."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[Axis, int] = field(default_factory=dict)
    typical: int = TYPICAL

    def of(self, axis: Axis) -> int:
        """The number of elements of an axis; an unknown size of the spec is typical too."""
        origin = axis.origin
        if origin in self.told:
            return self.told[origin]
        if origin.more:
            return self.of(origin.of[0]) + origin.more
        if origin.kind == "joint":
            values, *along = origin.of
            return self.of(values) ** prod(self.of(each) for each in along)
        if origin.of:
            return self.elements(origin.of)
        if origin.size is None:
            return self.typical
        try:
            return origin.size.value(self.sizes)
        except KeyError:
            return self.typical

    def elements(self, axes: Iterable[Axis]) -> int:
        return prod(self.of(axis) for axis in axes)


FREE = (Const, Number, Extent, Input, Rename, Spread)
"""Nothing is computed for these; a position is counted where it is used."""


def work(roots: Iterable[Node], numbers: Numbers, own: Callable[[Source], int] | None = None) -> int:
    """Elements touched: for each node the product of the sizes of all axes that it reads or has. own: that of a source."""
    return sum(touched(node, numbers, own) for node in nodes(roots))


def touched(node: Node, numbers: Numbers, own: Callable[[Source], int] | None = None) -> int:
    if isinstance(node, (*FREE, Position)):
        return 0
    if isinstance(node, Source):
        return own(node) if own else 0
    read = (arg.axes for arg in node.args if not isinstance(arg, Source))
    return numbers.elements(node.axes.union(*read))


def operations(roots: Iterable[Node]) -> int:
    """How many nodes compute something."""
    return sum(not isinstance(node, FREE) for node in nodes(roots))


def peak(roots: Iterable[Node], numbers: Numbers, width: int = 4) -> int:
    """Bytes that are alive at once at most, if nodes are computed in order and dropped after their last use; without
    gradients. With them everything is kept: see `kept`."""
    order = list(nodes(list(roots)))
    ends = {arg: at for at, node in enumerate(order) for arg in node.args} | dict.fromkeys(roots, len(order))
    alive = most = 0
    for at, node in enumerate(order):
        alive += size(node, numbers, width)
        most = max(most, alive)
        alive -= sum(size(arg, numbers, width) for arg in {*node.args} if ends[arg] == at)
    return most


def kept(roots: Iterable[Node], numbers: Numbers, width: int = 4) -> int:
    """Bytes of all that is computed."""
    return sum(size(node, numbers, width) for node in nodes(roots))


def size(node: Node, numbers: Numbers, width: int) -> int:
    """Bytes of a node's value of its own."""
    if isinstance(node, (*FREE, Source)):
        return 0
    return numbers.elements(node.axes) * {"real": width, "int": 8, "bool": 1}[node.dtype]
