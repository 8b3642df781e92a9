"""`map()`: a parameter in the place of a latent, in its own domain and between the ends of its law."""

from dataclasses import replace

from vispec.model.model import Apply, Const, Expression, Model, Param, Ref, Variable
from vispec.model.types import Type
from vispec.plan.guides.families import NONE, Ends, ends_of, positions
from vispec.plan.guides.questions import fresh


def with_point(variable: Variable, model: Model) -> Model:
    """Where the law has ends, what is stored is the share of the way from the lower to the upper, or how far above it is."""
    low, high = ends_of_point(variable)
    kind = variable.type if low is None else Type("positive" if high is None else "unit", variable.type.shape)
    point = Param(fresh(f"{variable.name}_point", model), kind, variable.plates, variable.span)
    return replace(model, params=(*model.params, point))


def ends_of_point(variable: Variable) -> Ends:
    laws = positions(variable.law)
    return (ends_of(laws[0]) or NONE) if laws else NONE


def point_of(variable: Variable, model: Model) -> Expression:
    """The latent's point estimate."""
    param = model.param[point_name(variable, model)]
    span, stored = variable.span, Ref(variable.span, param.type, param.name)
    low, high = ends_of_point(variable)
    if low is None:
        return stored
    if high is None:
        return Apply(span, variable.type, "+", (low, stored))
    rest = Apply(span, stored.type, "-", (Const(span, Type("real"), 1), stored))
    parts = [
        Apply(span, variable.type, "*", pair) for pair in ((rest, low), (stored, high))
    ]  # an end itself, unrounded, at 0 and 1
    return parts[1] if isinstance(low, Const) and low.value == 0 else Apply(span, variable.type, "+", tuple(parts))


def point_name(variable: Variable, model: Model) -> str:
    """The parameter that holds a latent's point estimate."""
    names = {param.name for param in model.params}
    return next(n for n in (f"{variable.name}_point" + "_" * i for i in range(9)) if n in names)
