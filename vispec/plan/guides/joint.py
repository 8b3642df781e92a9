"""One guide over several latents that all rows share: which of them, and names for its layers and for those of flows."""

from dataclasses import replace

from vispec.model.model import Flow, Model
from vispec.model.walk import key
from vispec.plan.guides.families import ends_of, positions, turn_of
from vispec.plan.guides.questions import asked, fresh, is_shared

JOINT_DOMAINS = frozenset({"real", "positive", "unit", "simplex"})


def with_joint(model: Model) -> Model:
    """The latents of a joint guide: all that rows share, but those with their own guide, a point, or draws of the prior."""
    if model.joint is None or model.joint.names:
        return model
    own = {guide.name for guide in model.guide}
    names = tuple(
        v.name
        for v in sorted(model.variables, key=lambda v: model.order.index(v.name) if v.name in model.order else -1)
        if is_shared(v, model)
        and v.name not in own
        and v.type.domain in JOINT_DOMAINS
        and turn_of(v) is None
        and len({key(ends_of(law)) for law in positions(v.law)} | {None}) <= 2  # the same ends all along a chain
        and not ((kind := asked(v.name, model)) is not None and (kind.point or kind.own_law))
    )
    joint = replace(model.joint, names=names, attribute=fresh("joint_guide", model)) if names else None
    return replace(model, joint=joint)


def with_flow_names(model: Model) -> Model:
    """The model with a name for the layers of each flow."""
    for place, guide in enumerate(model.guide):
        if isinstance(guide.law, Flow) and not guide.law.attribute:
            law = replace(guide.law, attribute=fresh(f"{guide.name}_flow", model))
            model = replace(model, guide=(*model.guide[:place], replace(guide, law=law), *model.guide[place + 1 :]))
    return model
