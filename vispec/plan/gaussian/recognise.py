"""Which latents are integrated exactly: those that are jointly Gaussian given the rest, unless a guide or an estimator is
written.

All candidates are tried together; where a density is not Gaussian in some of them, these are left to their guides, and it is
tried again. Latents that all rows share couple the rows: they are integrated where that is asked for, and the model becomes one
of a single row, which holds all of the data."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from vispec.diagnostics import SpecError
from vispec.factors.make import factorise
from vispec.model.model import Model, Plate, Variable
from vispec.model.walk import draws, is_read, walk
from vispec.plan.conjugate.recognise import with_pairs
from vispec.plan.estimate import drawn_together, read_through_head
from vispec.plan.gaussian.integrate import NotGaussianError
from vispec.plan.guides import complete_guides, is_shared
from vispec.plan.held.setting import Setting, setting
from vispec.plan.open import SHARED, asked, is_open
from vispec.plan.refused.refuse import check_plannable
from vispec.plan.treat import treat
from vispec.program.axis import Axis
from vispec.program.cost import Numbers

LOG_MOST = 12
"""The logarithm to base 2 of how many integrals are taken for joint values."""
LAWS = frozenset({"Normal", "MultivariateNormal", "Flat"})


def recognised(model: Model) -> Model:
    """The model that says which of its latents are integrated, and why others are not."""
    return with_pairs(with_gaussian(model)) if model.gaussian is None else model


def with_gaussian(model: Model) -> Model:
    """The same of those that are jointly Gaussian."""
    names, reasons = [v.name for v in model.variables if is_candidate(v, model)], dict[str, str]()
    trees = [name for name in names if read_through_head(drawn_together(name, names, model), model)]
    names = [name for name in names if name not in trees]
    reasons |= dict.fromkeys(trees, "it reads itself through the heads of a tree")
    if model.single is None:
        waiting = [name for name in names if is_shared(model.variable[name], model) and not asked(name, model)]
        names = [name for name in names if name not in waiting]
        reasons |= dict.fromkeys(waiting, SHARED)
    while names:
        tried = replace(placed(model, names), gaussian=tuple(names), reasons=tuple(reasons.items()))
        try:
            found = held(tried)
        except NotGaussianError as error:
            gone, why = dropped(error, model, names), f"not Gaussian: {error.why}" if error.factor else f"it takes {error.why}"
        except SpecError:  # whatever is wrong is told of the model as it is written
            break
        else:
            gone, why = coupling(found, model, names)
            if not gone:
                return tried
        for name in gone:
            names.remove(name)
            reasons[name] = why
    return replace(model, gaussian=(), reasons=tuple(reasons.items()))


def held(model: Model) -> Setting:
    """A model with its latents held as they would be, and all of them taking part. Raises NotGaussianError, SpecError."""
    whole = complete_guides(model)
    check_plannable(whole)
    return setting(factorise(whole), {v.name: treat(v, whole, True) for v in whole.variables})


def coupling(found: Setting, model: Model, names: list[str]) -> tuple[list[str], str]:
    """Latents that are better left to their guides: such as couple all rows where rows have draws of their own, and such as
    couple what is summed, so that there would be an integral for each of its joint values."""
    outside = [name for name in names if is_shared(model.variable[name], model)]
    drawn = [
        name
        for name, each in found.treatments.items()
        if each.kind == "draw" and not is_shared(found.f.model.variable[name], found.f.model)
    ]
    if outside and drawn and model.single is None:
        return outside, f"rows share it, and each has a draw of {drawn[0]}"
    numbers, values = found.joint.problem.numbers, found.joint.held.values
    along = found.joint.held.along
    joined = {name: axes for name, axes in along.items() if too_many(axes, numbers.of(values[name]), numbers)}
    if not joined:
        return [], ""
    sampled = tuple(infer for infer in model.infer if infer.name not in names)
    before = held(replace(model, gaussian=(), infer=sampled)).joint.held.along
    for name, axes in joined.items():
        if len(axes) > len(before.get(name, ())):
            why = f"each joint value of {name} along {axes[-1].hint} would have an integral of its own"
            return outside or list(names), why
    return [], ""


def too_many(axes: tuple[Axis, ...], values: int, numbers: Numbers) -> bool:
    """Whether there may be more joint values along axes than integrals are taken of."""
    return bool(axes) and (any(axis.size is None for axis in axes) or numbers.elements(axes) * math.log2(values) > LOG_MOST)


def is_candidate(variable: Variable, model: Model) -> bool:
    """Whether a latent's law is normal, and nothing else is asked for."""
    name = variable.name
    if variable.role not in ("latent", "partial") or variable.type.domain != "real":
        return False
    if variable.role == "partial" and not is_read(model, name):
        return False
    return (
        variable.law is not None and all(law.distribution in LAWS for law in draws(variable.law)) and is_open(variable, model)
    )


def dropped(error: NotGaussianError, model: Model, names: list[str]) -> list[str]:
    """The latents that are left to guides: where several stand in one product, the one that fewest elements have of their
    own."""
    found = [name for name in names if name in error.names]
    if len(found) > 1 and "a product of" in error.why:
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
    read = {getattr(part, "name", None) for part in walk(model.let[let].value)}
    return bool(read & {*names}) or any(reads_any(each, names, model) for each in model.let if each in read and each != let)


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
