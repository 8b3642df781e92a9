"""Which named axes an expression's tensor has: plates, and one axis for each latent that is enumerated.

An axis is a name: a plate "i", an enumerated latent "c", its past "c'" (one tick a step back), the samples "s*", and "c[i]"
for the joint values of a latent in all elements of a plate that is unrolled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from vispec.model.model import (
    All,
    Evidence,
    Expression,
    For,
    Law,
    Length,
    Let,
    Model,
    NetCall,
    Past,
    Position,
    Prefix,
    Ref,
    Select,
    Variable,
)
from vispec.model.walk import children, law_parts


def element_plates(variable: Variable | Let) -> tuple[str, ...]:
    """The plates along which a variable or let has elements: its own, and for a tree the one whose elements have the heads."""
    own = (variable.type.plate,) if variable.type.domain == "tree" and variable.type.plate else ()
    return (*variable.plates, *own)


SAMPLES = "s*"  # no plate of a spec can have this name


def past(name: str, lag: int = 1) -> str:
    """The axis of an enumerated latent `lag` steps back."""
    return name + "'" * lag


def is_past(axis: str) -> bool:
    return axis.endswith("'")


def present(axis: str) -> str:
    """The latent an axis belongs to."""
    return axis.rstrip("'").partition("[")[0]


def lag_of(axis: str) -> int:
    """How many steps back an axis is."""
    return len(axis) - len(axis.rstrip("'"))


def unrolled(name: str, plate: str) -> str:
    """The axis of all joint values of a latent along a plate."""
    return f"{name}[{plate}]"


def unrolled_plate(axis: str) -> str | None:
    """The plate along which an axis runs over joint values, if it does."""
    return axis.rstrip("]").partition("[")[2] or None


@dataclass(frozen=True)
class Scope:
    """How each variable is held: `enumerated` names have an axis of their own; `drawn` maps a sampled variable to its axes.

    joint: of the enumerated, those whose axis runs over all joint values along a plate, so that a net may read them together.
    unrolled: of the enumerated, those summed jointly along a plate, because latents of a crossing plate are coupled to them.
    """

    model: Model
    enumerated: frozenset[str]
    drawn: Mapping[str, frozenset[str]]
    joint: Mapping[str, str] = field(default_factory=dict)
    unrolled: Mapping[str, str] = field(default_factory=dict)

    def axes(self, name: str) -> frozenset[str]:
        """Axes of a variable, param or let at its own element."""
        if name in self.joint:
            return frozenset({name, self.joint[name]})
        if name in self.enumerated:
            return frozenset({name})
        if name in self.drawn:
            return self.drawn[name]
        if name in self.model.let:
            return expression_axes(self.model.let[name].value, self)
        for let in self.model.guide_lets:
            if let.name == name:
                return expression_axes(let.value, self)
        if name in self.model.variable:
            return frozenset(element_plates(self.model.variable[name]))
        return frozenset(self.model.param[name].plates)


def enumerated_axis(expression: Expression, scope: Scope) -> str | None:
    """The axis that an index expression runs over whole, if it is an enumerated latent itself; selecting is then renaming."""
    if isinstance(expression, Ref) and expression.name in scope.enumerated and expression.name not in scope.joint:
        return expression.name
    if isinstance(expression, Past) and expression.name in scope.enumerated:
        return past(expression.name, expression.lag)
    if isinstance(expression, Select) and expression.name in scope.enumerated and expression.name not in scope.joint:
        return expression.name
    return None


def expression_axes(expression: Expression, scope: Scope) -> frozenset[str]:
    """Every axis along which the expression's value differs."""
    match expression:
        case Ref(name=name):
            return scope.axes(name)
        case Past(name=name, lag=lag) if name in scope.enumerated:
            return frozenset({past(name, lag)})
        case Past(name=name) | Prefix(name=name):
            return scope.axes(name)
        case All(name=name, plate=plate):
            return scope.axes(name) - {plate}
        case Evidence(read=read):
            plates = frozenset(element_plates(scope.model.variable[read.name]))
            return plates - {read.plate} if isinstance(read, All) else plates
        case Position(plate=plate):
            return frozenset({plate})
        case Length(plate=plate):
            found = scope.model.plate[plate]
            return frozenset(found.inside) if found.ragged else frozenset()
        case For(body=body, plate=plate):
            return expression_axes(body, scope) - {plate}
        case Select(name=name, by=by):
            axes = scope.axes(name) - {plate for plate, _ in by}
            return axes.union(*(expression_axes(index, scope) for _, index in by))
        case NetCall(args=args, type=type_):
            axes = frozenset[str]().union(*(expression_axes(argument, scope) for argument in args))
            return axes | {type_.over} if type_.over is not None and not type_.star else axes
        case _:
            return frozenset[str]().union(*(expression_axes(child, scope) for child in children(expression)))


def law_axes(law: Law, scope: Scope) -> frozenset[str]:
    """Every axis of a law's parameters and conditions; a Then also differs along nothing but what its laws read."""
    return frozenset[str]().union(*(expression_axes(part, scope) for part in law_parts(law)))


def key(value: Any) -> Any:
    """A hashable stand-in for an expression or law that ignores where it stands in the text."""
    if is_dataclass(value) and not isinstance(value, type):
        return (type(value).__name__, *(key(getattr(value, f.name)) for f in fields(value) if f.name not in ("span", "type")))
    if isinstance(value, tuple):
        return tuple(key(item) for item in value)
    return (value, "") if isinstance(value, float) else value  # 1.0 is no index, and equals 1
