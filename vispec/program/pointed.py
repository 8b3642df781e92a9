"""Sums over elements of what each says of the ones that it points at: as many additions as there are elements."""

from __future__ import annotations

from collections.abc import Sequence

from vispec.program import build
from vispec.program.axis import Axis, merged
from vispec.program.node import Call, Node, Part

ONE = "vispec.kernels.sums.scatter:add_by_index"
TWO = "vispec.kernels.sums.scatter:add_by_indices"


def added_at(x: Node, at: Sequence[tuple[Axis, Node]], over: Sequence[Axis]) -> Node:
    """Σ over axes of x, along one axis or two, at each place that the indices name: of each axis one, by itself or as a pair.
    The first index has an axis in `over`. What does not count along a ragged axis adds 0."""
    ragged = [axis for axis in over if axis.lengths is not None]
    indices = [index for _, index in at]
    if ragged:
        inside = build.both(*map(build.inside, ragged))
        x, indices = build.where(inside, x, 0.0), [build.where(inside, index, 0) for index in indices]
    around = frozenset[Axis]().union(*(index.axes for index in indices)) - {*over}
    around |= {axis for axis in x.axes - {*over} if axis.kind == "plate"}  # all have the indices alike
    x = build.spread(x, {*around, *over})
    rest = tuple(sorted(x.axes - around - {*over}, key=lambda axis: axis.serial))
    number = merged(over)
    indices = [build.merge(build.spread(index, around if len(at) > 1 else ()), over, number) for index in indices]
    given = ((build.merge(x, over, number), (number, *rest), ""), *((index, (number,), "") for index in indices))
    places = tuple(axis for axis, _ in at)
    sizes = (*zip(("size", "size_too"), places, strict=False), *([("rest", len(rest))] if rest else []))
    return Part(Call("kernel", ONE if len(at) == 1 else TWO, given, (((*places, *rest), "real"),), sizes), 0)
