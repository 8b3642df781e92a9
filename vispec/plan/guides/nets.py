"""Amortised guides: a net from what is observed and given around a latent of a row, along a chain a recurrent one."""

from dataclasses import replace

from vispec.model.model import (
    All,
    Apply,
    Evidence,
    Expression,
    GuideLaw,
    Law,
    Model,
    Net,
    NetCall,
    Past,
    Ref,
    Stage,
    Then,
    Variable,
)
from vispec.model.types import INTEGER_DOMAINS, Type
from vispec.model.walk import law_parts, walk
from vispec.plan.guides.deeper import read_deeper
from vispec.plan.guides.families import NONE, ends_of, guide_of, heads, positions
from vispec.plan.guides.questions import fresh, in_joint
from vispec.plan.guides.reading import SUMMARY, argument_name, argument_type, arguments, readings
from vispec.plan.guides.together import coefficients, companions, moved
from vispec.source import Span


def with_net(variable: Variable, model: Model) -> Model:
    """Amortised: a net from the observed and given variables around the latent."""
    inputs = [read for other in model.variables for read in readings(other, variable, model)]
    chain = own_chain(variable)
    if chain is None:
        deeper, model = read_deeper(variable, model)
        inputs += deeper
    if not inputs:
        return model
    if chain is not None and all(isinstance(e.read if isinstance(e, Evidence) else e, Ref) for e in inputs):
        return with_listener(variable, chain, inputs, model)
    name = fresh(f"encode_{variable.name}", model)
    inputs, model = summed_up(inputs, name, model, variable.span)
    layers = encoder(inputs, model, variable.span)
    own = heads(variable)
    others = companions(variable, model) if "loc" in dict(own) else []
    own += coefficients(variable, others)
    net = Net(name, arguments(inputs, model), own, layers, None, variable.span)
    found: dict[str, Expression] = {head: NetCall(variable.span, type_, name, tuple(inputs), head) for head, type_ in own}
    guide = GuideLaw(variable.name, guide_of(variable, moved(variable, found, others, model)), variable.span)
    return replace(model, nets=(*model.nets, net), guide=(*model.guide, guide))


def summed_up(inputs: list[Expression], name: str, model: Model, span: Span) -> tuple[list[Expression], Model]:
    """Inputs of which only one plate's are sequences: those of each other plate are read by a net of their own."""
    for plate in [*dict.fromkeys(e.type.over for e in inputs if argument_type(e, model).star)][1:]:
        own = [e for e in inputs if e.type.over == plate]
        net = Net(
            fresh(f"{name}_{plate}", model), arguments(own, model), (("", SUMMARY),), encoder(own, model, span), None, span
        )
        inputs = [e for e in inputs if e.type.over != plate] + [NetCall(span, SUMMARY, net.name, tuple(own), "")]
        model = replace(model, nets=(*model.nets, net))
    return inputs, model


def own_chain(variable: Variable) -> str | None:
    """The chain along which a latent reads its own past."""
    parts = law_parts(variable.law) if variable.law else ()
    return next((e.plate for part in parts for e in walk(part) if isinstance(e, Past) and e.name == variable.name), None)


def with_listener(variable: Variable, chain: str, inputs: list[Expression], model: Model) -> Model:
    """Amortised along a chain: a net that reads what is seen in both directions, and on the reals the element before.

    The posterior of a state depends on the data after it too, and on the state before as it does a priori."""
    span, type_ = variable.span, variable.type
    heard = [listened(e, chain, model) for e in inputs]
    free = type_.domain == "real" and all(ends_of(law) == NONE for law in positions(variable.law))
    own = heads(variable) + ((("keep", Type("real", type_.shape)),) if free else ())
    starred = tuple((name, replace(head, star=True)) for name, head in own)
    name = fresh(f"encode_{variable.name}", model)
    layers = tuple(stage for stage in encoder(heard, model, span) if stage.layer in ("standardise", "embed"))
    layers += (Stage("gru", (), (("hidden", 64), ("bidirectional", True)), None, span),)
    arguments = tuple((argument_name(e), replace(e.type, over=None)) for e in heard)
    net = Net(name, arguments, starred, layers, None, span)
    found: dict[str, Expression] = {head: NetCall(span, replace(t, over=chain), name, tuple(heard), head) for head, t in own}
    keep = found.pop("keep", None)
    law: Law = guide_of(variable, found)
    if keep is not None:
        share, past = Apply(span, Type("unit", type_.shape), "sigmoid", (keep,)), Past(span, type_, variable.name, chain, 1)
        step = Apply(span, type_, "*", (share, Apply(span, type_, "-", (past, found["loc"]))))
        loc = Apply(span, type_, "+", (found["loc"], step))  # between the two, so that no chain of steps runs away
        law = Then(span, (law, guide_of(variable, found | {"loc": loc})))
    return replace(model, nets=(*model.nets, net), guide=(*model.guide, GuideLaw(variable.name, law, span)))


def listened(e: Expression, chain: str, model: Model) -> Expression:
    """What is read of a variable along a whole chain; one that is the same all along it as it is."""
    read = e.read if isinstance(e, Evidence) else e
    assert isinstance(read, Ref)
    if chain not in model.variable[read.name].plates:
        return e
    whole = All(e.span, replace(read.type, star=True, over=chain), read.name, chain)
    return replace(e, type=replace(e.type, star=True, over=chain), read=whole) if isinstance(e, Evidence) else whole


def encoder(inputs: list[Expression], model: Model, span: Span) -> tuple[Stage, ...]:
    """Layers for a net of these inputs: numbers brought to scale, words embedded, sequences averaged, then one hidden layer."""
    sequences = [type_ for _, type_ in arguments(inputs, model) if type_.star]
    layers = scaling(inputs, model, span)
    layers += [Stage("embed", (64,), (), None, span)] if any(t.domain in INTEGER_DOMAINS for t in sequences) else []
    if sequences:
        layers.append(Stage("mean", (), (), None, span))
    return (*layers, Stage("mlp", ((128,),), (), None, span))


def scaling(inputs: list[Expression], model: Model, span: Span) -> list[Stage]:
    """One layer that brings all numbers to scale where all are data, else one for each that is: draws come from anywhere, and
    of a partial variable those count that are there."""
    numbers = [e for e in inputs if e.type.domain in ("real", "positive", "count") and is_data(e, model)]
    if len(numbers) and all(isinstance(e, Ref | All) and is_data(e, model) for e in inputs):
        return [Stage("standardise", (), (), None, span)]
    settings = [
        (("of", argument_name(e)), *((("seen", f"{argument_name(e)}_seen"),) if isinstance(e, Evidence) else ()))
        for e in numbers
    ]
    return [Stage("standardise", (), each, None, span) for each in settings]


def is_data(e: Expression, model: Model) -> bool:
    """Whether what a net reads is as the data have it, and not a draw."""
    read = e.read if isinstance(e, Evidence) else e
    return isinstance(read, Ref | All) and read.name in model.variable and not in_joint(read.name, model)
