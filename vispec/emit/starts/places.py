"""Where in the arguments of a variable's law a start can reach: the parameters that are what an element of the sample shows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vispec.model.model import (
    Apply,
    Choice,
    Conditional,
    Const,
    Draw,
    Element,
    Evidence,
    Expression,
    Law,
    Model,
    NetCall,
    Param,
    Ref,
    Select,
    SizeOf,
    Stack,
    Then,
    Variable,
)
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import law_parts, walk
from vispec.plan.guides import asked, is_shared, point_of

LINKS = {"exp": ("torch.exp({})", "{}.log()"), "sigmoid": ("torch.sigmoid({})", "torch.logit({})")}
"""Functions around a parameter: its text and that of the inverse."""


@dataclass(frozen=True)
class Branch:
    """A law that some elements have: those for which each test is as said, and, along a chain, at `step` or from `since` on."""

    law: Draw
    tests: tuple[tuple[Expression, bool], ...] = ()
    step: int | None = None
    since: int | None = None


@dataclass(frozen=True)
class Place:
    """A parameter, or a net's head, as what the argument `name` of a law is for some elements.

    by: for each dimension of its groups the expression that selects, None along a plate of the variable's own. link: the
    function around it. tests: as those of a branch."""

    name: str
    param: Param | NetCall
    by: tuple[tuple[str, Expression | None], ...] = ()
    link: str = ""
    tests: tuple[tuple[Expression, bool], ...] = ()


def branches(law: Law, tests: tuple[tuple[Expression, bool], ...] = ()) -> Iterator[Branch]:
    """All distributions of a law."""
    match law:
        case Draw():
            yield Branch(law, tests)
        case Choice(test=test, then=then, otherwise=otherwise):
            yield from branches(then, (*tests, (test, True)))
            yield from branches(otherwise, (*tests, (test, False)))
        case Then(laws=laws):
            for step, each in enumerate(laws):
                last = step == len(laws) - 1
                for found in branches(each, tests):
                    yield replace(found, step=None if last else step, since=step if last else None)
        case _:
            return


def places(model: Model, name: str, argument: Expression, domain: str) -> Iterator[Place]:
    """The parameters that are the argument, for some elements or under a link, and of a sum one that is added to the rest."""
    match argument:
        case Ref(name=other) if other in model.let:
            yield from places(model, name, model.let[other].value, domain)
        case Conditional(test=test, then=then, otherwise=otherwise):
            for part, truth in ((then, True), (otherwise, False)):
                for found in places(model, name, part, domain):
                    yield replace(found, tests=((test, truth), *found.tests))
        case Apply(function=("exp" | "sigmoid") as link, args=(inner,)) if domain != "real":
            yield from (replace(found, link=link) for found in places(model, name, inner, "real"))
        case Apply(function="+" | "-") if domain == "real":
            found = [place for part in addends(model, argument) for place in places(model, name, part, domain)]
            yield from sorted(found, key=lambda place: len(place.by))[:1]
        case NetCall() if domain in ("real", "positive") and argument.type.domain == domain:
            yield Place(name, argument)
        case _:
            found = parameter(model, argument)
            if found is not None and found[0].type.domain == domain and found[0].start is None:
                yield Place(name, *found)


def addends(model: Model, sum_: Expression) -> list[Expression]:
    """What is added up, without what is subtracted."""
    match sum_:
        case Apply(function="+", args=(left, right)):
            return [*addends(model, left), *addends(model, right)]
        case Apply(function="-", args=(left, _)):
            return addends(model, left)
        case Ref(name=name) if name in model.let:
            return addends(model, model.let[name].value)
        case NetCall() | Conditional():
            return []
        case _:
            return [sum_]


def parameter(model: Model, argument: Expression) -> tuple[Param, tuple[tuple[str, Expression | None], ...]] | None:
    """A parameter at an element of its plates, and of its first event dimension where that is indexed."""
    match argument:
        case Ref(name=name) if (param := held(model, name)) is not None:
            return param, tuple((plate, None) for plate in param.plates)
        case Select(name=name, by=by) if (param := held(model, name)) is not None:
            selected = dict(by)
            return param, tuple((plate, selected.get(plate)) for plate in param.plates)
        case Element(base=base, at=at) if base.type.low is None and base.type.domain == "real":
            found = parameter(model, base)
            return None if found is None else (found[0], (*found[1], ("", at)))
        case _:
            return None


def held(model: Model, name: str) -> Param | None:
    """The parameter of that name, or that which holds the point estimate of a latent, if one prior is that of all its elements:
    where each has its own, the data do not say which of them is which."""
    if name in model.param:
        return model.param[name]
    latent = model.variable.get(name)
    if latent is None or latent.law is None or not is_shared(latent, model) or asked(name, model) != "map":
        return None
    same = all(isinstance(part, Const | SizeOf | Apply | Stack) for each in law_parts(latent.law) for part in walk(each))
    point = point_of(latent, model)  # between ends it is computed of what is stored
    return model.param[point.name] if same and isinstance(latent.law, Draw) and isinstance(point, Ref) else None


def reads(model: Model, e: Expression) -> Iterator[Expression]:
    """The expression and all below it, also in deterministic nodes."""
    for part in walk(e):
        yield part
        if isinstance(part, Ref) and part.name in model.let:
            yield from reads(model, model.let[part.name].value)


def latents_in(model: Model, e: Expression) -> set[str]:
    """The latent and partial variables that an expression reads."""
    names = {getattr(part, "name", None) for part in reads(model, e)}
    return {v.name for v in model.variables if v.name in names and v.role in ("latent", "partial")}


def finite(variable: Variable) -> bool:
    """Whether one value of the variable is one of finitely many."""
    return variable.type.domain in FINITE_DOMAINS and not variable.type.shape


def follows(model: Model, e: Expression) -> bool:
    """Whether the expression has a value once finite latents have one: it reads no parameter, no net, and of what is latent no
    past and no other kind."""
    for part in reads(model, e):
        if isinstance(part, NetCall | Evidence):
            return False
        name = getattr(part, "name", None)
        if name in model.param:
            return False
        variable = model.variable.get(str(name))
        if variable is None or variable.role not in ("latent", "partial"):
            continue
        if not (finite(variable) and isinstance(part, Ref | Select)):
            return False
    return True
