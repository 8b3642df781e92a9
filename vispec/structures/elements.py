"""Elements of a chain: a factor at one of the first, and at those from a number on, with what is known there folded."""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Density, Link, Map, Node, Pick, Position, Reduce, Rename, Scan, Shift, Spread


def at_element(value: Node, plate: Axis, number: int) -> Node:
    """The node at one element along the plate; which branch is taken there is decided now."""
    return _inside(value, plate, number, {}, exact=True)


def from_element(value: Node, plate: Axis, number: int) -> Node:
    """The node, right at the elements from `number` on and anything before: what tests for first elements is folded away, and
    there are no infinities of what has nothing before it."""
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
        case Scan(op, arg, axis) if axis is plate and not exact and number > 0:
            return build.scan(op, arg, axis, 0.0 if value.dtype == "real" else 0)
        case Link(op, arg, over) if not exact and plate not in over:
            return build.link(op, _inside(arg, plate, number, known, exact), over)
        case Rename(arg, pairs) if not exact and plate not in {axis for pair in pairs for axis in pair}:
            return build.rename(_inside(arg, plate, number, known, exact), dict(pairs))
        case Spread(arg, over) if not exact and plate not in over:
            return build.spread(_inside(arg, plate, number, known, exact), over)
        case Reduce(op, arg, over) if not exact and plate not in over:
            return build.reduce(op, _inside(arg, plate, number, known, exact), over)
        case Density(law, density_of, params, events) if not exact and plate not in events:
            new = tuple((name, _inside(param, plate, number, known, exact), own) for name, param, own in params)
            return Density(law, _inside(density_of, plate, number, known, exact), new, events)
        case Pick(table, at) if not exact and plate not in dict(at):
            index = {axis: _inside(each, plate, number, known, exact) for axis, each in at}
            return build.pick(_inside(table, plate, number, known, exact), index)
    return build.pick(value, {plate: number}) if exact else value
