"""Which latents are integrated by conjugate pairs, and why others that could be are not."""

from __future__ import annotations

from dataclasses import replace

from vispec.diagnostics import SpecError
from vispec.factors.make import factorise
from vispec.model.model import Model, Variable
from vispec.model.walk import draws, is_read
from vispec.plan.conjugate.pairs import PRIORS
from vispec.plan.conjugate.readings import NotConjugateError
from vispec.plan.guides import complete_guides, in_joint, is_shared
from vispec.plan.held.setting import setting
from vispec.plan.refused.refuse import check_plannable, guide_expressions
from vispec.plan.treat import treat


def with_pairs(model: Model) -> Model:
    """The model that says which of its latents are integrated so. Those that are jointly Gaussian are told already."""
    reasons = dict(model.reasons)
    names = list[str]()
    for variable in model.variables:
        if is_candidate(variable, model):
            if model.single is None and is_shared(variable, model):
                reasons[variable.name] = "all rows share it"
            else:
                names.append(variable.name)
    while names:
        tried = replace(model, pairs=tuple(names), reasons=tuple(reasons.items()))
        try:
            whole = complete_guides(tried)
            check_plannable(whole)
            f = factorise(whole)
            for complete in (False, True):
                setting(f, {v.name: treat(v, whole, complete) for v in whole.variables})
            return tried
        except NotConjugateError as error:
            for name in [each for each in names if each in error.names] or list(names):
                names.remove(name)
                reasons[name] = error.why
        except SpecError:  # whatever is wrong is told of the model as it is written
            break
    return replace(model, reasons=tuple(reasons.items()))


def is_candidate(variable: Variable, model: Model) -> bool:
    """Whether a latent's law is a prior of the table, and nothing else is asked for."""
    name = variable.name
    if variable.role != "latent" or not is_read(model, name):
        return False
    if variable.law is None or not all(law.distribution in PRIORS for law in draws(variable.law)):
        return False
    asked = any(infer.name == name for infer in model.infer) or any(guide.name == name for guide in model.guide)
    joint = model.joint is not None and (is_shared(variable, model) or in_joint(name, model))
    return not asked and not joint and not any(getattr(e, "name", None) == name for e in guide_expressions(model))
