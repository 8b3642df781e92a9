"""Going through resolved expressions and laws."""

from collections.abc import Iterator
from dataclasses import fields

from vispec.model import model as m


def children(expression: m.Expression) -> Iterator[m.Expression]:
    """Direct subexpressions, in the order of the fields."""
    for field in fields(expression):
        value = getattr(expression, field.name)
        if isinstance(value, m.Expression):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, m.Expression):
                    yield item
                elif isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], m.Expression):
                    yield item[1]


def walk(expression: m.Expression) -> Iterator[m.Expression]:
    """The expression and all below it."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def parts(law: m.Law) -> Iterator[m.Expression]:
    """The expressions that a law reads directly."""
    match law:
        case m.Draw(args=args):
            yield from (value for _, value in args)
        case m.Choice(test=test, then=then, otherwise=otherwise):
            yield test
            yield from parts(then)
            yield from parts(otherwise)
        case m.Then(laws=laws):
            for each in laws:
                yield from parts(each)
        case m.Flow(base=base, context=context):
            yield from parts(base)
            if context is not None:
                yield context


def draws(law: m.Law) -> Iterator[m.Draw]:
    """Every distribution in a law."""
    match law:
        case m.Draw():
            yield law
        case m.Choice(then=then, otherwise=otherwise):
            yield from draws(then)
            yield from draws(otherwise)
        case m.Then(laws=laws):
            for each in laws:
                yield from draws(each)
        case m.Flow(base=base):
            yield base
