"""What the making of guides asks about a model and its variables."""

from vispec.estimators import estimators
from vispec.estimators.entry import EstimatorKind
from vispec.model.model import Model, Variable
from vispec.model.walk import is_read


def is_shared(variable: Variable, model: Model) -> bool:
    """Whether a latent stands outside the data plate, so that all rows share it."""
    return variable.role == "latent" and not any(model.plate[p].data for p in variable.plates)


def is_leaf(variable: Variable, model: Model) -> bool:
    """Whether a variable is partial and no law reads it."""
    return variable.role == "partial" and not is_read(model, variable.name)


def in_joint(name: str, model: Model) -> bool:
    """Whether the guide over several latents is over this one."""
    return model.joint is not None and name in model.joint.names


def asked(name: str, model: Model) -> EstimatorKind | None:
    """The entry of the estimator that `infer:` names for a variable."""
    return next((estimators()[infer.estimator.name] for infer in model.infer if infer.name == name), None)


def is_point(name: str, model: Model) -> bool:
    """Whether a parameter stands in the latent's place."""
    kind = asked(name, model)
    return kind is not None and kind.point


def fresh(name: str, model: Model) -> str:
    """A name that the spec does not use."""
    used = {d.name for group in (model.sizes, model.vocabs, model.plates, model.params, model.nets) for d in group}
    used |= {v.name for v in model.variables} | {let.name for let in (*model.lets, *model.guide_lets)}
    while name in used:
        name += "_"
    return name
