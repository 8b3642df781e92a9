"""Which latents are integrated exactly: those that are jointly Gaussian given the rest, unless a guide or an estimator is written.

All candidates are tried together; where a density is not Gaussian in some of them, these are left to their guides, and it is
tried again. Latents that all rows share couple the rows: the model becomes one of a single row, which holds all of the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from vispec.diagnostics import SpecError
from vispec.factors.make import factorise
from vispec.model.model import Choice, Draw, Law, Model, Plate, Then, Variable
from vispec.model.walk import is_read
from vispec.plan.guides import complete_guides, is_shared
from vispec.plan.conjugate.recognise import with_pairs
from vispec.plan.guides.questions import in_joint
from vispec.plan.gaussian.integrate import NotGaussianError
from vispec.plan.held.setting import setting
from vispec.plan.refused.refuse import check_plannable, guide_expressions
from vispec.plan.treat import treat

LAWS = frozenset({"Normal", "MultivariateNormal", "Flat"})


def recognised(model: Model) -> Model:
    """The model that says which of its latents are integrated, and why others are not."""
    return with_pairs(with_gaussian(model)) if model.gaussian is None else model


def with_gaussian(model: Model) -> Model:
    """The same of those that are jointly Gaussian."""
    names, reasons = [v.name for v in model.variables if is_candidate(v, model)], dict[str, str]()
    while names:
        tried = replace(placed(model, names), gaussian=tuple(names), reasons=tuple(reasons.items()))
        try:
            whole = complete_guides(tried)
            check_plannable(whole)
            setting(factorise(whole), {v.name: treat(v, whole, True) for v in whole.variables})
            return tried
        except NotGaussianError as error:
            for name in dropped(error, model, names):
                names.remove(name)
                reasons[name] = error.why
        except SpecError:  # whatever is wrong is told of the model as it is written
            break
    return replace(model, gaussian=(), reasons=tuple(reasons.items()))


def is_candidate(variable: Variable, model: Model) -> bool:
    """Whether a latent's law is normal, and nothing else is asked for."""
    name = variable.name
    if variable.role not in ("latent", "partial") or variable.type.domain != "real":
        return False
    if variable.role == "partial" and not is_read(model, name):
        return False
    if not all(law.distribution in LAWS for law in laws(variable.law)):
        return False
    asked = any(infer.name == name for infer in model.infer) or any(guide.name == name for guide in model.guide)
    joint = model.joint is not None and (is_shared(variable, model) or in_joint(name, model))
    return not asked and not joint and not any(getattr(e, "name", None) == name for e in guide_expressions(model))


def laws(law: Law | None) -> Iterator[Draw]:
    match law:
        case Draw():
            yield law
        case Choice(_, _, then, otherwise):
            yield from (*laws(then), *laws(otherwise))
        case Then(_, parts):
            for part in parts:
                yield from laws(part)
        case _:
            yield Draw(law.span if law is not None else None, "", ())  # type: ignore[arg-type]


def dropped(error: NotGaussianError, model: Model, names: list[str]) -> list[str]:
    """The latents that are left to guides: where several stand in one product, the one that fewest elements have of their own."""
    found = [name for name in names if name in error.names]
    if len(found) > 1 and error.why.startswith("a product"):
        return [min(found, key=lambda name: len(model.variable[name].plates))]
    return found or list(names)


# ---- one row


def placed(model: Model, names: list[str]) -> Model:
    """The model with these latents in its row: with one row for all of the data, if they stood outside of the rows."""
    outside = [name for name in names if is_shared(model.variable[name], model)]
    if not outside:
        return model
    if model.single is None:
        model = one_row(model)
    assert model.single is not None
    row, lets = model.single.name, dict.fromkeys(let.name for let in model.lets if reads_any(let.name, outside, model))
    variables = tuple(replace(v, plates=(row, *v.plates)) if v.name in outside else v for v in model.variables)
    moved = tuple(
        replace(let, plates=(row, *let.plates)) if let.name in lets and row not in let.plates else let for let in model.lets
    )
    return replace(model, variables=variables, lets=moved)


def reads_any(let: str, names: list[str], model: Model) -> bool:
    """Whether a let reads one of these, be it through other lets."""
    from vispec.model.walk import walk

    read = {getattr(part, "name", None) for part in walk(model.let[let].value)}
    return bool(read & {*names}) or any(reads_any(each, names, model) for each in read if each in model.let and each != let)


def one_row(model: Model) -> Model:
    """The same model of one row: the rows are elements of a plate in it."""
    used = {*re.findall(r"\w+", model.source.text)}
    row = next(name for name in ("row", *(f"row{i}" for i in range(2, len(used) + 3))) if name not in used)
    data = next(plate for plate in model.plates if plate.data)
    first = Plate(row, "plate", None, (), True, False, f"{row}_len", data.span, True)

    def inside(plate: Plate) -> Plate:
        if plate is data:
            return replace(plate, data=False, ragged=True, inside=(row, *plate.inside))
        return replace(plate, inside=(row, *plate.inside)) if data.name in plate.inside else plate

    def moved(plates: tuple[str, ...]) -> tuple[str, ...]:
        return (row, *plates) if data.name in plates else plates

    return replace(
        model,
        plates=(first, *map(inside, model.plates)),
        variables=tuple(replace(v, plates=moved(v.plates)) for v in model.variables),
        lets=tuple(replace(let, plates=moved(let.plates)) for let in model.lets),
        guide_lets=tuple(replace(let, plates=moved(let.plates)) for let in model.guide_lets),
    )
