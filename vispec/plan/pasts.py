"""The past of a deterministic node, `v[t-1]` with `let v = a * x`, as what it is computed from a step back: `a * x[t-1]`."""

from dataclasses import fields, replace

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.model import model as m
from vispec.model.types import Type
from vispec.model.walk import rebuilt, walk
from vispec.plan.axes import element_plates


class FixedError(Exception):
    """An expression has no form for an element of the past."""

    def __init__(self, part: m.Expression):
        self.part = part


def without_pasts_of_lets(model: m.Model) -> m.Model:
    """The model with every past of a let written out. One that no law computes may stay where it cannot be; raises SpecError
    where another cannot."""
    lets = {let.name: let for let in (*model.lets, *model.guide_lets)}

    def change(e: m.Expression) -> m.Expression | None:
        if not isinstance(e, m.Past) or e.name not in lets:
            return None
        try:
            return earlier(lets[e.name].value, e.plate, e.lag, model)
        except FixedError as found:
            if not any(variable.law for variable in behind(e.name, model) if e.plate in variable.plates):
                return None
            raise SpecError(model.source, [cannot(e, lets[e.name], found.part)]) from found

    if not any(isinstance(e, m.Past) and e.name in lets for e in every_expression(model)):
        return model
    changed = {name: rebuilt(getattr(model, name), change) for name in ("lets", "guide", "guide_lets")}
    variables = tuple(v if v.law is None else replace(v, law=rebuilt(v.law, change)) for v in model.variables)
    return replace(model, variables=variables, **changed)


def every_expression(model: m.Model) -> list[m.Expression]:
    from vispec.plan.suitable import model_values

    return [part for value in model_values(model) for part in walk(value)]


def behind(name: str, model: m.Model) -> set[m.Variable]:
    """The variables that a let is computed from, through others."""
    lets = {let.name: let.value for let in (*model.lets, *model.guide_lets)}
    found, pending = set[str](), [name]
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            parts = walk(lets[current]) if current in lets else ()
            pending += [other for part in parts if isinstance(other := getattr(part, "name", None), str)]
    return {variable for variable in model.variables if variable.name in found}


def cannot(e: m.Past, let: m.Let, part: m.Expression) -> Diagnostic:
    message = f"the past of `{e.name}` is read, and what `{e.name}` reads cannot be taken a step back along `{e.plate}`"
    related = (Label(part.span, "not a step back"), Label(let.span, f"`{e.name}` is computed here"))
    return Diagnostic("V717", message, Label(e.span), related, "read the past of a variable, or compute this where it is read")


def earlier(e: m.Expression, plate: str, lag: int, model: m.Model) -> m.Expression:
    """The expression as it was `lag` elements of a chain before; raises FixedError where that cannot be said."""
    match e:
        case m.Ref(name=name):
            let = next((let for let in (*model.lets, *model.guide_lets) if let.name == name), None)
            if let is not None:
                return earlier(let.value, plate, lag, model)
            return m.Past(e.span, e.type, name, plate, lag) if plate in plates_of(name, model) else e
        case m.Past(plate=other) if other == plate:
            return replace(e, lag=e.lag + lag)
        case m.Position(plate=other) if other == plate:
            return m.Apply(e.span, e.type, "-", (e, m.Const(e.span, Type("count"), lag)))
        case m.All(name=name, plate=other) if other == plate or plate not in plates_of(name, model):
            return e
        case m.Select(name=name, by=by) if plate in dict(by) or plate not in plates_of(name, model):
            return replace(e, by=tuple((at, earlier(index, plate, lag, model)) for at, index in by))
        case m.Evidence(read=m.Ref() as read):
            return replace(e, read=earlier(read, plate, lag, model))
        case m.Length(plate=other) if plate not in model.plate[other].inside or not model.plate[other].ragged:
            return e
        case m.NetCall(type=kind) if kind.over == plate and not kind.star:
            raise FixedError(e)
        case m.Apply() | m.Conditional() | m.Stack() | m.For() | m.NetCall() | m.Element() | m.Where():
            changed = {f.name: parts(getattr(e, f.name), plate, lag, model) for f in fields(e)}
            return replace(e, **changed)
        case m.Const() | m.SizeOf() | m.Position():
            return e
        case _:
            raise FixedError(e)


def parts(value: object, plate: str, lag: int, model: m.Model) -> object:
    """The same of a field of an expression."""
    if isinstance(value, m.Expression):
        return earlier(value, plate, lag, model)
    return tuple(parts(item, plate, lag, model) for item in value) if isinstance(value, tuple) else value


def plates_of(name: str, model: m.Model) -> tuple[str, ...]:
    """The plates that a variable, parameter or let stands in."""
    for let in (*model.lets, *model.guide_lets):
        if let.name == name:
            return let.plates
    return element_plates(model.variable[name]) if name in model.variable else model.param[name].plates
