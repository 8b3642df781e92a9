"""Heads of a tree: where one is surely not the root, and on which side of it its element stands."""

from dataclasses import replace

from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.problems import did_you_mean
from vispec.model.types import Type
from vispec.model.values.conform import const
from vispec.model.walk import rebuilt
from vispec.syntax import tree as t

SIDE = "side"


def property_of(scope: Scope, node: t.Attribute, head: m.Expression) -> m.Expression | None:
    """`head.side`: 0 where the element stands before its head, 1 where after it, as all stand after the root."""
    if node.name != SIDE:
        help = did_you_mean(node.name, (SIDE,), "`.side` is 0 where the element stands before its head, and 1 where after it")
        scope.problems.add("V507", node.span, f"a head has no `{node.name}`", "not a property of a head", help=help)
        return None
    place = m.Position(node.span, Type("count"), str(head.type.plate))
    before = m.Apply(node.span, Type("bit", card=2), "<", (place, head))
    return m.Conditional(node.span, Type("category", card=2), before, const(0, node.span), const(1, node.span))


def below_root(test: m.Expression, then: m.Expression, otherwise: m.Expression) -> tuple[m.Expression, m.Expression]:
    """The branches of a condition; where it is whether a head is the root, elements that are read there are of heads that are
    not."""
    match test:
        case m.Apply(function=("==" | "!=") as op, args=(m.Ref() as head, m.Const(value=0))):
            pass
        case m.Apply(function=("==" | "!=") as op, args=(m.Const(value=0), m.Ref() as head)):
            pass
        case _:
            return then, otherwise
    if head.type.domain != "tree":
        return then, otherwise

    def known(e: m.Expression) -> m.Expression | None:
        if not isinstance(e, m.Select) or not any(isinstance(at, m.Ref) and at.name == head.name for _, at in e.by):
            return None
        return replace(e, below_root=True)

    return (then, rebuilt(otherwise, known)) if op == "==" else (rebuilt(then, known), otherwise)
