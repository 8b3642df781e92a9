"""One element of a value along an axis, taken of what the value is computed from: nothing is computed along the axis."""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Concat, Const, Map, Node, Pick, Rename, Spread


def entry(node: Node, axis: Axis, at: int) -> Node:
    """The same numbers as `build.pick(node, {axis: at})`."""
    return _entry(node, axis, at, {})


def _entry(node: Node, axis: Axis, at: int, known: dict[tuple[Node, Axis], Node]) -> Node:
    if axis not in node.axes:
        return node
    if (node, axis) not in known:
        known[node, axis] = _inner(node, axis, at, known)
    return known[node, axis]


def _inner(node: Node, axis: Axis, at: int, known: dict[tuple[Node, Axis], Node]) -> Node:
    match node:
        case Map(op, operands):
            return build.apply(op, *(_entry(each, axis, at, known) for each in operands))
        case Spread(arg, over):
            return build.spread(_entry(arg, axis, at, known), [each for each in over if each is not axis])
        case Rename(arg, pairs):
            old = next((old for old, new in pairs if new is axis), axis)
            return build.rename(_entry(arg, old, at, known), {a: b for a, b in pairs if a is not old})
        case Pick(table, places):
            taken = {own: _entry(index, axis, at, known) for own, index in places}
            return joined(build.pick(table if axis in taken else _entry(table, axis, at, known), taken))
        case Concat(parts, along) if along is not axis:
            return build.concat([(_entry(part, axis, at, known), own) for part, own in parts], along)
        case Concat(parts, _) if all(own is None for _, own in parts):
            return parts[at][0]
    return build.pick(node, {axis: build.node(at)})


def joined(node: Node) -> Node:
    """Two picks at constants as one."""
    match node:
        case Pick(Pick(table, first), second) if all(isinstance(index, Const) for _, index in (*first, *second)):
            return joined(build.pick(table, dict((*first, *second))))
    return node
