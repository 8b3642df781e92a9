"""How many numbers latents have."""

from __future__ import annotations

from collections.abc import Sequence

from vispec.program.axis import Axis
from vispec.program.size import Size


def merged(name: str, axes: Sequence[Axis]) -> Axis | None:
    """An axis through all numbers along some; None where that is one number."""
    if len(axes) < 2:
        return axes[0] if axes else None
    size = size_of(axes)
    return Axis(name, "event", size, of=() if size is not None else tuple(axes))


def sum_of(axes: Sequence[Axis | None]) -> Size | None:
    """How many elements they have one after the other, None being one, where that is known."""
    found = Size.of(0)
    for axis in axes:
        if axis is not None and axis.origin.size is None:
            return None
        found = found + (Size.of(1) if axis is None or axis.origin.size is None else axis.origin.size)
    return found


def size_of(axes: Sequence[Axis]) -> Size | None:
    """The product of their sizes, where all are known."""
    found = Size.of(1)
    for axis in axes:
        if axis.origin.size is None:
            return None
        found = found * axis.origin.size
    return found
