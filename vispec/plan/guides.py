"""Automatic guides, as a rewriting of the model: what lacks a guide gets parameters or a net, and a guide over them.

A latent outside the data plate gets parameters of its own, one set for each element of its plates (mean field). One inside gets
a net from what is observed around it, along a chain a recurrent one. The family follows the support: Normal on the reals,
LogNormal on the positive ones, Beta on the unit interval, Dirichlet on the simplex. `map()` asks for a point: a parameter in
the latent's own domain.

With `auto(full_rank)`, `auto(low_rank)` or `auto(flow)` one guide is over all shared latents together, in unconstrained space,
and nets for the latents of a row read the draws of those that stand in no plate, of positive ones the logarithm.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import expm1, log

from vispec.catalog import distributions
from vispec.model.model import (
    All,
    Apply,
    Const,
    Draw,
    Evidence,
    Expression,
    Flow,
    GuideLaw,
    Law,
    Let,
    Model,
    Net,
    NetCall,
    Param,
    Past,
    Prefix,
    Ref,
    Stage,
    Then,
    Variable,
)
from vispec.model.types import INTEGER_DOMAINS, Type
from vispec.model.walk import is_read, law_parts, rebuilt, walk
from vispec.source import Span

FAMILIES: dict[str, tuple[str, dict[str, str]]] = {
    "real": ("Normal", {"loc": "real", "scale": "positive"}),
    "positive": ("LogNormal", {"loc": "real", "scale": "positive"}),
    "unit": ("Beta", {"logit": "real", "total": "positive"}),
    "simplex": ("Dirichlet", {"mean": "simplex", "total": "positive"}),
}
"""The guide's law for each domain, and what is learnt of it: of concentrations, the mean and apart from it the total."""


def complete_guides(model: Model) -> Model:
    """The model with a guide for every drawn latent that can have an automatic one."""
    model = with_evidence(with_flow_names(with_joint(model)))
    for variable in model.variables:
        if needs_guide(variable, model):
            model = with_guide(variable, model)
    return with_baseline(model) if learns_baseline(model) else model


def with_evidence(model: Model) -> Model:
    """The model whose guide reads a partial variable that no law reads as the data has it, and has no law for it: it is scored
    where it is seen, and never drawn."""
    leaves = {v.name for v in model.variables if is_leaf(v, model)}

    def evidence(e: Expression) -> Expression | None:
        if isinstance(e, Apply) and e.function == "seen":
            (read,) = e.args
            assert isinstance(read, Ref | All | Past)
            return Evidence(e.span, e.type, read, seen=True)
        if isinstance(e, Ref | All | Past | Prefix) and e.name in leaves:
            return Evidence(e.span, e.type, e, seen=False)
        return None

    laws = tuple(law for law in model.guide if law.name not in leaves)
    return replace(model, guide=rebuilt(laws, evidence), guide_lets=rebuilt(model.guide_lets, evidence))


def is_leaf(variable: Variable, model: Model) -> bool:
    """Whether a variable is partial and no law reads it."""
    return variable.role == "partial" and not is_read(model, variable.name)


JOINT_DOMAINS = frozenset({"real", "positive", "unit", "simplex"})


def with_joint(model: Model) -> Model:
    """The latents of a joint guide: all that rows share, but those with their own guide, a point, or draws of the prior."""
    if model.joint is None or model.joint.names:
        return model
    own = {guide.name for guide in model.guide}
    names = tuple(
        v.name
        for v in model.variables
        if is_shared(v, model)
        and v.name not in own
        and v.type.domain in JOINT_DOMAINS
        and asked(v.name, model) not in ("map", "mc")
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


def in_joint(name: str, model: Model) -> bool:
    """Whether the guide over several latents is over this one."""
    return model.joint is not None and name in model.joint.names


BASELINE = "baseline of the data"  # the let that reads the score function's learnt baseline


def learns_baseline(model: Model) -> bool:
    estimators = [e for infer in model.infer for e in (infer.estimator, infer.otherwise) if e is not None]
    new = all(let.name != BASELINE for let in model.guide_lets)
    return new and any(("baseline", "nvil") in estimator.settings for estimator in estimators)


def with_baseline(model: Model) -> Model:
    """A net from a row's data to one number, and a let that calls it."""
    span = next(infer.span for infer in model.infer)
    data = tuple(plate.name for plate in model.plates if plate.data)
    row = Variable(BASELINE, "latent", Type("real"), data, None, span)
    inputs = [read for other in model.variables for read in readings(other, row, model)]
    name = fresh("baseline", model)
    net = Net(name, arguments(inputs, model), (("", Type("real")),), encoder(inputs, model, span), None, span)
    let = Let(BASELINE, Type("real"), data, NetCall(span, Type("real"), name, tuple(inputs), ""), span)
    return replace(model, nets=(*model.nets, net), guide_lets=(*model.guide_lets, let))


def encoder(inputs: list[Expression], model: Model, span: Span) -> tuple[Stage, ...]:
    """Layers for a net of these inputs: numbers brought to scale, words embedded, sequences averaged, then one hidden layer."""
    numbers = any(e.type.domain in ("real", "positive", "count") for e in inputs)
    data = all(isinstance(e, Ref | All) and not in_joint(e.name, model) for e in inputs)  # whole, and not drawn
    sequences = [type_ for _, type_ in arguments(inputs, model) if type_.star]
    layers = [Stage("embed", (64,), (), None, span)] if any(t.domain in INTEGER_DOMAINS for t in sequences) else []
    if numbers and data:
        layers.insert(0, Stage("standardise", (), (), None, span))
    if sequences:
        layers.append(Stage("mean", (), (), None, span))
    return (*layers, Stage("mlp", ((128,),), (), None, span))


def arguments(inputs: list[Expression], model: Model) -> tuple[tuple[str, Type], ...]:
    return tuple((argument_name(e), argument_type(e.type, model)) for e in inputs)


def argument_name(e: Expression) -> str:
    """What a net calls an input: the variable's name, that of its logarithm, or of where it is seen."""
    if isinstance(e, Evidence):
        return f"{e.read.name}_seen" if e.seen else e.read.name
    return f"log_{argument_name(e.args[0])}" if isinstance(e, Apply) else str(getattr(e, "name", ""))


def is_shared(variable: Variable, model: Model) -> bool:
    """Whether a latent stands outside the data plate, so that all rows share it."""
    return variable.role == "latent" and not any(model.plate[p].data for p in variable.plates)


def asked(name: str, model: Model) -> str | None:
    """The estimator that `infer:` names for a variable."""
    return next((infer.estimator.name for infer in model.infer if infer.name == name), None)


def needs_guide(variable: Variable, model: Model) -> bool:
    if variable.role == "given" or variable.role == "observed" or any(g.name == variable.name for g in model.guide):
        return False
    if in_joint(variable.name, model) or is_leaf(variable, model):
        return False
    if asked(variable.name, model) == "map":
        return True
    if isinstance(variable.law, Draw) and distributions()[variable.law.distribution].atoms:
        return False  # no family here has masses
    return variable.type.domain in FAMILIES and asked(variable.name, model) != "mc" and bool(heads(variable, model))


def with_guide(variable: Variable, model: Model) -> Model:
    if asked(variable.name, model) == "map":
        point = Param(fresh(f"{variable.name}_point", model), variable.type, variable.plates, variable.span)
        return replace(model, params=(*model.params, point))
    if is_shared(variable, model):
        return with_parameters(variable, model)
    return with_net(variable, model)


def point_name(variable: Variable, model: Model) -> str:
    """The parameter that holds a latent's point estimate."""
    names = {param.name for param in model.params}
    return next(n for n in (f"{variable.name}_point" + "_" * i for i in range(9)) if n in names)


def heads(variable: Variable, model: Model) -> tuple[tuple[str, Type], ...]:
    """What is learnt of the guide's family, each of the latent's event shape; a Dirichlet has one total."""
    family, params = FAMILIES[variable.type.domain]
    shapes = {name: () if (family, name) == ("Dirichlet", "total") else variable.type.shape for name in params}
    return tuple((name, Type(domain, shapes[name])) for name, domain in params.items())  # type: ignore[arg-type]


def arguments_of(family: str, learnt: Mapping[str, Expression], variable: Variable) -> tuple[tuple[str, Expression], ...]:
    """The arguments of the guide's law, from what is learnt of it: concentrations are shares of a total."""
    if "total" not in learnt:
        return tuple(learnt.items())
    span, shape, total = variable.span, variable.type.shape, learnt["total"]
    if family == "Dirichlet":
        shares = {"concentration": learnt["mean"]}
    else:
        logit = learnt["logit"]
        odds = {"concentration1": logit, "concentration0": Apply(span, logit.type, "neg", (logit,))}
        shares = {name: Apply(span, Type("unit", shape), "sigmoid", (value,)) for name, value in odds.items()}
    return tuple((name, Apply(span, Type("positive", shape), "*", (total, share))) for name, share in shares.items())


def start_of(head: str, variable: Variable) -> tuple[float, float] | None:
    """Where a guide's parameter starts, as it is stored: near the prior's location, with a tenth of its scale, at most 1. Wide
    guides make noisy gradients, and latents that start alike stay alike. None for parameters of other families."""
    law = variable.law
    args = dict(law.args) if isinstance(law, Draw) and law.distribution in ("Normal", "LogNormal") else {}
    loc, scale = (value.value if isinstance(value := args.get(name), Const) else None for name in ("loc", "scale"))
    narrow = min(0.1 * (scale or 1.0), 1.0)
    starts = {"loc": (float(loc or 0), narrow), "scale": (log(expm1(narrow)), 0.0), "log_total": (log(40), 0.0)}
    return starts.get(head)


def with_parameters(variable: Variable, model: Model) -> Model:
    """Mean field: its own parameters. Of a total, which may be in the thousands, the logarithm: steps are of one size."""
    family = FAMILIES[variable.type.domain][0]
    args: dict[str, Expression] = {}
    params = list(model.params)
    for head, type_ in heads(variable, model):
        stored, kind = ("log_total", Type("real", type_.shape)) if head == "total" else (head, type_)
        name = fresh(f"{variable.name}_{stored}", replace(model, params=tuple(params)))
        params.append(Param(name, kind, variable.plates, variable.span, start_of(stored, variable)))
        found = Ref(variable.span, kind, name)
        args[head] = Apply(variable.span, type_, "exp", (found,)) if head == "total" else found
    guide = GuideLaw(variable.name, Draw(variable.span, family, arguments_of(family, args, variable)), variable.span)
    return replace(model, params=tuple(params), guide=(*model.guide, guide))


def with_net(variable: Variable, model: Model) -> Model:
    """Amortised: a net from the observed and given variables around the latent."""
    inputs = [read for other in model.variables for read in readings(other, variable, model)]
    if not inputs:
        return model
    chain = own_chain(variable)
    if chain is not None and all(isinstance(e.read if isinstance(e, Evidence) else e, Ref) for e in inputs):
        return with_listener(variable, chain, inputs, model)
    name = fresh(f"encode_{variable.name}", model)
    layers = encoder(inputs, model, variable.span)
    net = Net(name, arguments(inputs, model), heads(variable, model), layers, None, variable.span)
    found = {head: NetCall(variable.span, t, name, tuple(inputs), head) for head, t in heads(variable, model)}
    family = FAMILIES[variable.type.domain][0]
    guide = GuideLaw(variable.name, Draw(variable.span, family, arguments_of(family, found, variable)), variable.span)
    return replace(model, nets=(*model.nets, net), guide=(*model.guide, guide))


def own_chain(variable: Variable) -> str | None:
    """The chain along which a latent reads its own past."""
    parts = law_parts(variable.law) if variable.law else ()
    return next((e.plate for part in parts for e in walk(part) if isinstance(e, Past) and e.name == variable.name), None)


def with_listener(variable: Variable, chain: str, inputs: list[Expression], model: Model) -> Model:
    """Amortised along a chain: a net that reads what is seen in both directions, and on the reals the element before.

    The posterior of a state depends on the data after it too, and on the state before as it does a priori."""
    span, type_ = variable.span, variable.type
    heard = [listened(e, chain, model) for e in inputs]
    own = heads(variable, model) + ((("keep", Type("real", type_.shape)),) if type_.domain == "real" else ())
    starred = tuple((name, replace(head, star=True)) for name, head in own)
    name = fresh(f"encode_{variable.name}", model)
    layers = tuple(stage for stage in encoder(heard, model, span) if stage.layer in ("standardise", "embed"))
    layers += (Stage("gru", (), (("hidden", 64), ("bidirectional", True)), None, span),)
    arguments = tuple((argument_name(e), replace(e.type, over=None)) for e in heard)
    net = Net(name, arguments, starred, layers, None, span)
    found = {head: NetCall(span, replace(t, over=chain), name, tuple(heard), head) for head, t in own}
    keep = found.pop("keep", None)
    family = FAMILIES[type_.domain][0]
    first = Draw(span, family, arguments_of(family, found, variable))
    law: Law = first
    if keep is not None:
        share, past = Apply(span, Type("unit", type_.shape), "sigmoid", (keep,)), Past(span, type_, variable.name, chain, 1)
        step = Apply(span, type_, "*", (share, Apply(span, type_, "-", (past, found["loc"]))))
        loc = Apply(span, type_, "+", (found["loc"], step))  # between the two, so that no chain of steps runs away
        law = Then(span, (first, Draw(span, family, (("loc", loc), ("scale", found["scale"])))))
    return replace(model, nets=(*model.nets, net), guide=(*model.guide, GuideLaw(variable.name, law, span)))


def listened(e: Expression, chain: str, model: Model) -> Expression:
    """What is read of a variable along a whole chain; one that is the same all along it as it is."""
    read = e.read if isinstance(e, Evidence) else e
    assert isinstance(read, Ref)
    if chain not in model.variable[read.name].plates:
        return e
    whole = All(e.span, replace(read.type, star=True, over=chain), read.name, chain)
    return replace(e, type=replace(e.type, star=True, over=chain), read=whole) if isinstance(e, Evidence) else whole


def argument_type(type_: Type, model: Model) -> Type:
    """Numbers along a plate of known size are a vector, anything else that has a plate is a sequence."""
    size = model.plate[type_.over].size if type_.over is not None else None
    if size is not None and not type_.shape and type_.domain not in INTEGER_DOMAINS:
        return replace(type_, shape=(size,), star=False, over=None)
    return replace(type_, over=None)


def readings(other: Variable, latent: Variable, model: Model) -> list[Expression]:
    """How the latent's net reads another variable: its own element, or its sequence one plate further in; and where it may be
    missing, also which of it are there."""
    read = reading(other, latent, model)
    if not isinstance(read, Ref | All) or other.role != "partial":
        return [] if read is None else [read]
    bit = replace(read.type, domain="bit", shape=(), card=2, plate=None)
    return [Evidence(read.span, kind, read, seen) for kind, seen in ((read.type, False), (bit, True))]


def reading(other: Variable, latent: Variable, model: Model) -> Expression | None:
    if in_joint(other.name, model) and not other.plates and latent.name != BASELINE:
        drawn = Ref(latent.span, other.type, other.name)
        if other.type.domain != "positive":
            return drawn
        return Apply(latent.span, replace(other.type, domain="real"), "log", (drawn,))  # scales may be far apart
    if (other.role not in ("observed", "given") and not is_leaf(other, model)) or other.name == latent.name:
        return None
    if set(other.plates) == set(latent.plates):
        return Ref(latent.span, other.type, other.name)
    inner = [p for p in other.plates if p not in latent.plates]
    if len(inner) != 1 or inner[0] != other.plates[-1] or not set(latent.plates) <= set(other.plates):
        return None
    return All(latent.span, replace(other.type, star=True, over=inner[0]), other.name, inner[0])


def fresh(name: str, model: Model) -> str:
    """A name that the spec does not use."""
    used = {d.name for group in (model.sizes, model.vocabs, model.plates, model.params, model.nets) for d in group}
    used |= {v.name for v in model.variables} | {let.name for let in (*model.lets, *model.guide_lets)}
    while name in used:
        name += "_"
    return name
