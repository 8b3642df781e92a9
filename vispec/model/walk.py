"""Going through resolved expressions and laws."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from vispec.catalog import distributions
from vispec.model import model as m


def walk(expression: m.Expression) -> tuple[m.Expression, ...]:
    """The expression and all below it; nothing below evidence, which reads no variable but the data."""
    return expression.whole


def key(value: Any) -> Any:
    """A hashable stand-in for an expression or law that ignores where it stands in the text."""
    if is_dataclass(value) and not isinstance(value, type):
        return (type(value).__name__, *(key(getattr(value, f.name)) for f in fields(value) if f.name not in ("span", "type")))
    if isinstance(value, tuple):
        return tuple(key(item) for item in value)
    return (value, "") if isinstance(value, float) else value  # 1.0 is no index, and equals 1


def prefix_of(expression: m.Expression) -> m.Prefix | None:
    """The elements before the present one that an argument is, or that it looks something up for, if it is that."""
    read = looked_up(expression)
    read = read.read if isinstance(read, m.Evidence) else read
    return read if isinstance(read, m.Prefix) else None


def looked_up(expression: m.Expression) -> m.Expression:
    """The sequence for whose elements something is looked up; any other expression itself."""
    while isinstance(expression, m.Select) and expression.type.star:
        expression = next(index for _, index in expression.by if index.type.star)
    return expression


T = TypeVar("T")


def rebuilt(value: T, change: Callable[[m.Expression], m.Expression | None]) -> T:
    """A law, an expression, or what holds some, each expression replaced by what `change` makes of it, if anything."""
    if isinstance(value, m.Expression) and (other := change(value)) is not None:
        return other  # pyright: ignore[reportReturnType]
    if isinstance(value, tuple):
        return tuple(rebuilt(item, change) for item in value)  # pyright: ignore[reportReturnType]
    if isinstance(value, m.Evidence):
        return value
    if isinstance(value, m.Expression | m.Draw | m.Choice | m.Then | m.Flow | m.GuideLaw | m.Let):
        parts = {field.name: rebuilt(getattr(value, field.name), change) for field in fields(value)}
        return replace(value, **parts)
    return value


def law_parts(law: m.Law) -> tuple[m.Expression, ...]:
    """The expressions that a law reads directly."""
    match law:
        case m.Draw(args=args):
            return tuple(value for _, value in args)
        case m.Choice(test=test, then=then, otherwise=otherwise):
            return (test, *law_parts(then), *law_parts(otherwise))
        case m.Then(laws=laws):
            return tuple(part for each in laws for part in law_parts(each))
        case m.Flow(base=base, context=context):
            return (*law_parts(base), *(() if context is None else (context,)))


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


def read_values(model: m.Model) -> list[m.Expression]:
    """The values of the deterministic nodes that a law or a guide reads, be it through others. The rest are derived quantities:
    they can be asked for, and take no part in any density."""
    laws = [v.law for v in model.variables if v.law is not None] + [guide.law for guide in model.guide]
    pending = [part for law in laws for part in law_parts(law)] + [let.value for let in model.guide_lets]
    lets, found = model.let, dict[str, m.Expression]()
    while pending:
        for part in walk(pending.pop()):
            name = getattr(part.read if isinstance(part, m.Evidence) else part, "name", None)
            if isinstance(name, str) and name in lets and name not in found:
                found[name] = lets[name].value
                pending.append(lets[name].value)
    return [let.value for let in model.lets if let.name in found]


def grown_trees(model: m.Model) -> tuple[str, ...]:
    """The trees whose law is one on trees of all numbers of elements: how many there are is said by it, and not drawn."""
    entries = distributions()
    laws = ((v.name, v.law) for v in model.variables)
    return tuple(name for name, law in laws if isinstance(law, m.Draw) and entries[law.distribution].decisions is not None)


def is_read(model: m.Model, name: str) -> bool:
    """Whether any law of the model (not of its guide) reads the variable, or a deterministic node that a law or a guide reads;
    its own past counts."""
    if any(name in v.type.whole_of for v in model.variables if v.type.whole_of):
        return True
    if name in grown_trees(model):
        return True
    expressions = [part for v in model.variables if v.law for part in law_parts(v.law)] + read_values(model)
    return any(getattr(inner, "name", None) == name for expression in expressions for inner in walk(expression))
