"""Latents together: the guide of a latent also reads how far the draws of others lie from their locations.

In units of their scales, e = (x - loc) / scale, and after others a latent is Normal(loc + scale · Σ w e, scale): a Gaussian
with any covariance of them all, whatever the units. The coefficients w are learnt beside loc and scale, by the latent's net or
as parameters. Without them, latents that explain the same data get guides that are too narrow, and what reads them, such as a
deviation over rows, a wrong mean. Elements of a plate are independent given what stands outside it."""

from functools import reduce

from vispec.catalog import distributions
from vispec.model.model import Apply, Base, Const, Draw, Expression, GuideLaw, Model, Ref, Variable
from vispec.model.types import Type
from vispec.plan.estimate import law_reads
from vispec.plan.guides.questions import asked, is_shared

WITH = "with_"  # begins the name of a coefficient


def companions(variable: Variable, model: Model) -> list[GuideLaw]:
    """Guides of latents before it that some law reads with it: of its row, and of its plates or some of them."""
    if not averages(variable, model) or any(model.plate[plate].kind == "chain" for plate in variable.plates):
        return []
    return [guide for guide in model.guide if is_companion(model.variable[guide.name], guide, variable, model)]


def is_companion(other: Variable, guide: GuideLaw, variable: Variable, model: Model) -> bool:
    """Whether each element has one of the other, of the same shape or a single number."""
    if other.role != "latent" or is_shared(other, model) != is_shared(variable, model):
        return False
    if not set(other.plates) <= set(variable.plates) or other.type.shape not in ((), variable.type.shape):
        return False
    return is_located(guide) and averages(other, model) and meet(other, variable, model)


def is_located(guide: GuideLaw) -> bool:
    """Whether it has a location and a scale that are learnt, on the line or carried to where the latent has its values."""
    law = guide.law
    args = dict(law.args) if isinstance(law, Draw) else {}
    return {"loc", "scale"} <= args.keys() and not isinstance(args["loc"], Const)


def meet(one: Variable, other: Variable, model: Model) -> bool:
    """Whether some law reads both, or one of them the other."""
    both = {one.name, other.name}
    return any(both <= law_reads(v.law, model) | {v.name} for v in model.variables)


def averages(variable: Variable, model: Model) -> bool:
    """Whether its draws are averaged with a gradient that passes through what they were drawn from."""
    infer = next((i for i in model.infer if i.name == variable.name), None)
    gradient = "pathwise" if infer is None else dict(infer.estimator.settings).get("gradient", "pathwise")
    kind = asked(variable.name, model)
    return (kind is None or kind.of_guide) and gradient in ("pathwise", "stl")


def coefficients(variable: Variable, others: list[GuideLaw]) -> tuple[tuple[str, Type], ...]:
    """The heads for them."""
    return tuple((f"{WITH}{guide.name}", Type("real", variable.type.shape)) for guide in others)


def moved(variable: Variable, learnt: dict[str, Expression], others: list[GuideLaw], model: Model) -> dict[str, Expression]:
    """What is learnt, the location moved by where the others lie."""
    if not others:
        return learnt
    span, kind = variable.span, Type("real", variable.type.shape)
    terms = [Apply(span, kind, "*", (learnt[f"{WITH}{each.name}"], residual(each, model))) for each in others]
    total: Expression = reduce(lambda a, b: Apply(span, kind, "+", (a, b)), terms)
    step = Apply(span, kind, "*", (learnt["scale"], total))
    return learnt | {"loc": Apply(span, kind, "+", (learnt["loc"], step))}


def residual(guide: GuideLaw, model: Model) -> Expression:
    """(x - loc) / scale, x the number on the line that the draw is made of."""
    variable, law = model.variable[guide.name], guide.law
    assert isinstance(law, Draw)
    span, kind, args = variable.span, Type("real", variable.type.shape), dict(law.args)
    draw = Ref(span, variable.type, variable.name)
    carried = distributions()[law.distribution].carry is not None
    drawn = Base(span, kind, draw, args.get("low"), args.get("high")) if carried else draw
    return Apply(span, kind, "/", (Apply(span, kind, "-", (drawn, args["loc"])), args["scale"]))
