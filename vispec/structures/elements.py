"""Elements of a chain: a factor at one of the first, and at those from a number on, with what is known there folded."""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Map, Node, Position, Shift


def at_element(value: Node, plate: Axis, number: int) -> Node:
    """The node at one element along the plate; which branch is taken there is decided now."""
    return _inside(value, plate, number, {}, exact=True)


def from_element(value: Node, plate: Axis, number: int) -> Node:
    """The node, right at the elements from `number` on and anything before: what tests for first elements is folded away."""
    return _inside(value, plate, number, {}, exact=False)


def _inside(value: Node, plate: Axis, number: int, known: dict[Node, Node], exact: bool) -> Node:
    if plate not in value.axes:
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
    return build.pick(value, {plate: number}) if exact else value
