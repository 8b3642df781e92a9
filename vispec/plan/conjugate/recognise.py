"""Which latents are integrated by conjugate pairs, and why others that could be are not."""

from __future__ import annotations

from dataclasses import replace

from vispec.diagnostics import SpecError
from vispec.factors.make import factorise
from vispec.model.model import Model, Variable
from vispec.model.walk import draws, is_read
from vispec.plan.conjugate.pairs import PRIORS
from vispec.plan.conjugate.readings import NotConjugateError
from vispec.plan.guides import complete_guides, is_shared
from vispec.plan.held.setting import setting
from vispec.plan.open import SHARED, asked, is_open
from vispec.plan.refused.refuse import check_plannable
from vispec.plan.treat import treat


def with_pairs(model: Model) -> Model:
    """The model that says which of its latents are integrated so. Those that are jointly Gaussian are told already."""
    from vispec.plan.gaussian.recognise import placed

    reasons, names = dict(model.reasons), [v.name for v in model.variables if is_candidate(v, model)]
    if model.single is None:
        for name in [each for each in names if is_shared(model.variable[each], model) and not asked(each, model)]:
            names.remove(name)
            reasons[name] = why_not(placed(model, [name]), (name,)) or SHARED
    while names:
        tried = replace(placed(model, names), pairs=tuple(names), reasons=tuple(reasons.items()))
        try:
            hold(tried)
            return tried
        except NotConjugateError as error:
            for name in [each for each in names if each in error.names] or list(names):
                names.remove(name)
                reasons[name] = f"no conjugate pair: {error.why}"
        except SpecError:  # whatever is wrong is told of the model as it is written
            break
    return replace(model, reasons=tuple(reasons.items()))


def hold(model: Model) -> None:
    """Hold its latents as they would be. Raises NotConjugateError, SpecError."""
    whole = complete_guides(model)
    check_plannable(whole)
    f = factorise(whole)
    for complete in (False, True):
        setting(f, {v.name: treat(v, whole, complete) for v in whole.variables})


def why_not(model: Model, names: tuple[str, ...]) -> str:
    """What stands in the way of integrating latents, "" where nothing does."""
    try:
        hold(replace(model, pairs=names))
    except NotConjugateError as error:
        return f"no conjugate pair: {error.why}"
    except SpecError as error:
        return f"no conjugate pair: {error.diagnostics[0].message}"
    return ""


def is_candidate(variable: Variable, model: Model) -> bool:
    """Whether a latent's law is a prior of the table, and nothing else is asked for."""
    name = variable.name
    if variable.role != "latent" or not is_read(model, name):
        return False
    if variable.law is None or not all(law.distribution in PRIORS for law in draws(variable.law)):
        return False
    return is_open(variable, model)
