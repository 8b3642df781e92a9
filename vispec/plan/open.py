"""Whether a latent may be integrated, as far as the spec says how it is to be inferred."""

from vispec.model.model import Model, Variable
from vispec.plan.guides import in_joint, is_shared
from vispec.plan.refused.refuse import guide_expressions

SHARED = "rows share it: `exact` in `infer:` integrates it, with all of the data as one row"


def is_open(variable: Variable, model: Model) -> bool:
    """Whether no guide and no estimator is written for it, and no guide reads it."""
    name = variable.name
    otherwise = any(infer.name == name and infer.estimator.name != "exact" for infer in model.infer)
    guided = any(guide.name == name for guide in model.guide) or in_joint(name, model)
    joint = model.joint is not None and is_shared(variable, model) and not asked(name, model)
    return not (otherwise or guided or joint) and not any(getattr(e, "name", None) == name for e in guide_expressions(model))


def asked(name: str, model: Model) -> bool:
    """Whether `infer:` says that it is to be exact."""
    return any(infer.name == name and infer.estimator.name == "exact" for infer in model.infer)
