"""t · value as a sum of what is multiplied by what: each addend reads fewer unknowns than the sum of them all."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vispec.plan.held.sink import below
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Map, Node, Reduce, Scan

Addend = tuple[Node, frozenset[Axis]]


def addends(value: Node, t: Node, plates: frozenset[Axis], unknown: Collection[str]) -> Iterator[Addend]:
    """Nodes whose sum, each over its plates, is Σ t · value over `plates`; t does not read what is unknown."""
    known = lambda node: not below([node], unknown)[node]  # noqa: E731
    match value:
        case _ if known(value):
            yield whole(t, value), plates
        case Map("add", operands):
            for each in operands:
                yield from addends(each, t, plates, unknown)
        case Map("sub", (left, right)):
            yield from addends(left, t, plates, unknown)
            yield from addends(right, build.neg(t), plates, unknown)
        case Map("neg", (arg,)):
            yield from addends(arg, build.neg(t), plates, unknown)
        case Map("real", (arg,)) if arg.dtype != "bool":
            yield from addends(arg, t, plates, unknown)
        case Map("mul", operands) if sum(not known(each) for each in operands) == 1:
            (arg,) = (each for each in operands if not known(each))
            factors = [build.apply("real", each) for each in operands if each is not arg]
            yield from addends(arg, build.mul(t, *factors), plates, unknown)
        case Map("div", (arg, by)) if known(by):
            yield from addends(arg, build.apply("div", t, by), plates, unknown)
        case Map("where", (test, then, otherwise)) if known(test):
            yield from addends(then, build.where(test, t, 0.0), plates, unknown)
            yield from addends(otherwise, build.where(test, 0.0, t), plates, unknown)
        case Reduce("sum", arg, over) if all(axis.kind == "plate" for axis in over):
            yield from addends(arg, build.reduce("sum", t, {*over} & t.axes), plates | {*over}, unknown)
        case Scan("sum", arg, axis, _) if axis.kind == "plate" and axis in plates:
            t = build.where(build.inside(axis), build.spread(t, (axis,)), 0.0)
            after = build.sub(build.sub(build.reduce("sum", t, (axis,)), build.scan("sum", t, axis, 0.0)), t)
            yield from addends(arg, after, plates, unknown)
        case _:
            yield whole(t, value), plates


def whole(t: Node, value: Node) -> Node:
    """Σ t · value over the entries of a value."""
    product = build.mul(t, build.apply("real", value))
    return build.reduce("sum", product, {axis for axis in product.axes if axis.kind == "event"})
