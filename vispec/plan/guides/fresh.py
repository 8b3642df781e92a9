"""Elements of a plate that no fit has met: what is latent of them is drawn from its own law, whatever guides the others."""

from dataclasses import replace

from vispec.model.model import Apply, Choice, Const, Draw, GuideLaw, Model, Position
from vispec.model.types import Type


def with_fresh(model: Model) -> Model:
    """The model whose guides give way to the law of a latent from the first fresh element of its plates on."""
    return replace(model, guide=tuple(from_law(law, model) for law in model.guide))


def from_law(guide: GuideLaw, model: Model) -> GuideLaw:
    variable, law = model.variable[guide.name], guide.law
    for plate, known in model.fresh:
        if plate in variable.plates and variable.law is not None and isinstance(law, Draw | Choice):
            span = law.span
            at, first = Position(span, Type("count"), plate), Const(span, Type("positive"), known)
            law = Choice(span, Apply(span, Type("bit", card=2), "<", (at, first)), law, variable.law)
    return replace(guide, law=law)
