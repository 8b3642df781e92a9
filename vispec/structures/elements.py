"""Elements of a chain: a factor at one of the first, and at those from a number on, with what is known there folded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Loop, Map, Node, Position, Scan, Shift, Source
from vispec.program.walk import with_fields


def at_element(value: Node, plate: Axis, number: int) -> Node:
    """The node at one element along the plate; which branch is taken there is decided now."""
    return _inside(value, plate, number, {}, exact=True)


def from_element(value: Node, plate: Axis, number: int) -> Node:
    """The node, right at the elements from `number` on and anything before: what tests for first elements is folded away, and
    there are no infinities of what has nothing before it."""
    return _inside(value, plate, number, {}, exact=False)


def _inside(value: Node, plate: Axis, number: int, known: dict[Node, Node], exact: bool) -> Node:
    if plate not in (value.shared if isinstance(value, Source) else value.axes):
        return value
    if value not in known:
        known[value] = _changed(value, plate, number, known, exact)
    return known[value]


def _changed(value: Node, plate: Axis, number: int, known: dict[Node, Node], exact: bool) -> Node:
    match value:
        case Map("lt", (Position(axis), Const(bound))) if axis is plate and not exact and bound <= number:
            return Const(False)
        case Map("eq", (Position(axis), Const(place))) if axis is plate and not exact and place < number:
            return Const(False)
        case Map(op, operands):
            return build.apply(op, *(_inside(each, plate, number, known, exact) for each in operands))
        case Position() if exact:
            return Const(number)
        case Shift(arg, axis, lag, fill) if axis is plate and exact:
            inner = _inside(arg, plate, number - lag, {}, exact) if lag <= number else None
            return _inside(fill, plate, number, known, exact) if inner is None else inner
        case Scan(op, arg, axis) if axis is plate and not exact and number > 0:
            return build.scan(op, arg, axis, 0.0 if value.dtype == "real" else 0)
    if exact:
        return build.pick(value, {plate: number})
    inner = partial(_inside, plate=plate, number=number, known=known, exact=False)
    return value if isinstance(value, Loop) or plate in named_axes(value) else with_fields(value, inner)


def named_axes(value: Node) -> set[Axis]:
    """The axes that a node itself names; along others it works element by element."""
    return {axis for each in fields(value) for axis in _axes_in(getattr(value, each.name))}


def _axes_in(part: Any) -> Iterator[Axis]:
    if isinstance(part, Axis):
        yield part
    elif isinstance(part, tuple):
        for each in part:
            yield from _axes_in(each)
