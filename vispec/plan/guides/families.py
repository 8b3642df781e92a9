"""The family of an automatic guide: its support is that of the latent's own law.

Normal on the reals, LogNormal on the positive ones, Beta on the unit interval, Dirichlet on the simplex. Where a law has ends
(`bounds` of its entry), a number x ~ Normal(loc, scale) is carried between them: low + exp x where there is a lower one alone,
low + (high - low) sigmoid x where there are two. The ends are those of the law, whatever they read. On a circle the interval
is one turn around a location that is learnt, x ~ Normal(0, scale): on the line a wide guide would count its turns as entropy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vispec.catalog import distributions
from vispec.model.model import Apply, Choice, Conditional, Const, Draw, Expression, Flow, Law, Then, Variable
from vispec.model.types import Type
from vispec.model.walk import draws, key


@dataclass(frozen=True)
class Family:
    """A guide's law, and what is learnt of it: name → domain. Of concentrations, the mean and apart from it the total."""

    law: str
    heads: Mapping[str, str]


LOCATED = {"loc": "real", "scale": "positive"}
FAMILIES: dict[str, Family] = {
    "real": Family("Normal", LOCATED),
    "positive": Family("LogNormal", LOCATED),
    "unit": Family("Beta", {"logit": "real", "total": "positive"}),
    "simplex": Family("Dirichlet", {"mean": "simplex", "total": "positive"}),
}
ABOVE, BETWEEN = Family("ShiftedLogNormal", LOCATED), Family("LogitNormal", LOCATED)

Ends = tuple[Expression | None, Expression | None]
"""The ends of a law's support, where they are others than those of its domain."""
NONE: Ends = (None, None)


def ends_of(law: Law) -> Ends | None:
    """The ends of a law that is not told apart by position; None where one of them is there under a condition only."""
    match law:
        case Draw(distribution=name, args=args):
            given = dict(args)
            low, high = (given.get(end or "") for end in distributions()[name].bounds)
            return low, high
        case Choice(test=test, then=then, otherwise=otherwise):
            one, other = ends_of(then), ends_of(otherwise)
            if one is None or other is None:
                return None
            pairs = list(zip(one, other, strict=True))
            if any((a is None) != (b is None) for a, b in pairs):
                return None
            low, high = (None if a is None or b is None else either(test, a, b) for a, b in pairs)
            return low, high
        case Then() | Flow():
            return NONE


def either(test: Expression, one: Expression, other: Expression) -> Expression:
    if key(one) == key(other):
        return one
    shape = max(one.type.shape, other.type.shape, key=len)
    return Conditional(one.span, Type("real", shape), test, one, other)


def positions(law: Law | None) -> tuple[Law, ...]:
    """The laws of a chain's first, second, ... element; else the one law."""
    return law.laws if isinstance(law, Then) else () if law is None else (law,)


def family_of(variable: Variable, ends: Ends) -> Family:
    low, high = ends
    if low is None:
        assert high is None  # no law of the catalog has an upper end alone
        return FAMILIES[variable.type.domain]
    return ABOVE if high is None else BETWEEN


def heads(variable: Variable) -> tuple[tuple[str, Type], ...]:
    """What is learnt of the guide, each of the latent's event shape; a Dirichlet has one total."""
    found: dict[str, Type] = {}
    for law in positions(variable.law):
        ends = ends_of(law)
        assert ends is not None
        family = family_of(variable, ends)
        for name, domain in family.heads.items():
            shape = () if (family.law, name) == ("Dirichlet", "total") else variable.type.shape
            found[name] = Type(domain, shape)  # type: ignore[arg-type]
    return tuple(found.items())


def guide_of(variable: Variable, learnt: Mapping[str, Expression]) -> Law:
    """The guide's law, from what is learnt of it; by position where the laws along a chain have different ends."""
    laws = positions(variable.law)
    found = [(ends, one_law(variable, ends, learnt)) for law in laws if (ends := ends_of(law)) is not None]
    if len({key(ends) for ends, _ in found}) == 1:
        return found[0][1]
    return Then(variable.span, tuple(law for _, law in found))


def turn_of(variable: Variable) -> float | None:
    """By how much values differ that are the same, where all laws of the latent are on a circle."""
    turns = {distributions()[draw.distribution].turn for draw in draws(variable.law)} if variable.law is not None else {None}
    return turns.pop() if len(turns) == 1 else None


def around(variable: Variable, learnt: Mapping[str, Expression], turn: float) -> Draw:
    """One turn around the location."""
    span, half = variable.span, Const(variable.span, Type("real"), turn / 2)
    args: list[tuple[str, Expression]] = [("loc", Const(span, Type("real"), 0)), ("scale", learnt["scale"])]
    args += [(end, Apply(span, variable.type, sign, (learnt["loc"], half))) for end, sign in (("low", "-"), ("high", "+"))]
    return Draw(span, BETWEEN.law, tuple(args))


def one_law(variable: Variable, ends: Ends, learnt: Mapping[str, Expression]) -> Draw:
    turn = turn_of(variable)
    if turn is not None:
        return around(variable, learnt, turn)
    family = family_of(variable, ends)
    own = {name: learnt[name] for name in family.heads}
    bounds = zip(("low", "high"), ends, strict=True)
    args = (*arguments_of(family, own, variable), *((name, end) for name, end in bounds if end is not None))
    return Draw(variable.span, family.law, args)


def arguments_of(family: Family, learnt: Mapping[str, Expression], variable: Variable) -> tuple[tuple[str, Expression], ...]:
    """The arguments of the guide's law, from what is learnt of it: concentrations are shares of a total."""
    if "total" not in learnt:
        return tuple(learnt.items())
    span, shape, total = variable.span, variable.type.shape, learnt["total"]
    if "mean" in learnt:
        shares = {"concentration": learnt["mean"]}
    else:
        logit = learnt["logit"]
        odds = {"concentration1": logit, "concentration0": Apply(span, logit.type, "neg", (logit,))}
        shares = {name: Apply(span, Type("unit", shape), "sigmoid", (value,)) for name, value in odds.items()}
    return tuple((name, Apply(span, Type("positive", shape), "*", (total, share))) for name, share in shares.items())
