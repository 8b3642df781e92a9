"""Axes: what a tensor differs along. An axis is an object that equals only itself; its name is a hint and no spelling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal

from vispec.program.size import Size

if TYPE_CHECKING:
    from vispec.program.node import Node

Kind = Literal["samples", "plate", "values", "joint", "rows", "event"]
"""samples: draws. plate: its elements. values: those of a finite latent. joint: all joint values of several latents.
rows: distinct inputs of a net. event: a dimension of one element."""

_serial = count()


@dataclass(frozen=True, eq=False)
class Axis:
    """size: how many elements, padding included; None where only the data can tell.

    lengths: where elements differ in number, how many count, over axes of its own: what is added up, multiplied or compared
    along the axis is over these alone. like: an axis with as many elements (the values of an index into a plate, a copy).
    of: the axes whose joint values a joint axis numbers; or those that an event's axis runs through, where their
    sizes are not known; or one that has `more` elements fewer. serial: when it was made, which orders axes of one kind."""

    hint: str
    kind: Kind
    size: Size | None = None
    lengths: Node | None = None
    like: Axis | None = None
    of: tuple[Axis, ...] = ()
    more: int = 0
    serial: int = field(default_factory=lambda: next(_serial))

    def __repr__(self) -> str:
        return self.hint

    @property
    def origin(self) -> Axis:
        """The axis that says how many elements this one has."""
        return self if self.like is None else self.like.origin


ORDER: tuple[Kind, ...] = ("samples", "rows", "plate", "joint", "values", "event")


def ordered(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """Axes in the order in which they are listed and, where nothing speaks against it, laid out."""
    return tuple(sorted(axes, key=lambda axis: (ORDER.index(axis.kind), axis.serial)))


def as_long(one: Axis, other: Axis) -> bool:
    """Whether both surely have as many elements."""
    a, b = one.origin, other.origin
    return a is b or (a.size is not None and a.size == b.size)


def copy(axis: Axis, hint: str | None = None, kind: Kind | None = None) -> Axis:
    """Another axis with as many elements."""
    return Axis(hint or axis.hint, kind or axis.kind, axis.size, axis.lengths, axis, axis.of, axis.more)


def merged(axes: Sequence[Axis]) -> Axis:
    """An axis of all elements along some, one after another."""
    hint = "_".join(axis.hint for axis in axes)
    return copy(axes[0]) if len(axes) == 1 else Axis(hint, "plate", of=tuple(axes))
