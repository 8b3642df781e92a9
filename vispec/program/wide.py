"""A value in float64 whatever the module's dtype: where a large number is all but cancelled."""

from collections.abc import Sequence

from vispec.program import build
from vispec.program.node import Concat, Const, Link, Map, Node, Pick, Rename, Spread
from vispec.program.walk import with_fields


def wide(arg: Node) -> Node:
    """A real value as it is computed in float64, from its inputs and constants on."""
    match arg:
        case Map("wide"):
            return arg
        case Map("where", (test, then, otherwise)):
            return build.where(test, *beside([then, otherwise]))
        case Map(op, operands) if all(each.dtype == "real" for each in operands):
            return build.apply(op, *beside(operands))
        case Link() | Rename() | Spread() | Concat():
            return with_fields(arg, lambda each: wide(each) if each.dtype == "real" else each)
        case Pick(table, at):
            return build.pick(wide(table), dict(at))
    return build.apply("wide", arg)


def beside(operands: Sequence[Node]) -> list[Node]:
    """Operands in float64; a constant is as exact as what stands beside it."""
    alone = all(isinstance(each, Const) for each in operands)
    return [each if isinstance(each, Const) and not alone else wide(each) for each in operands]
