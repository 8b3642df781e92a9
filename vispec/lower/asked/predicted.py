"""Predictions of missing numbers: what is asked of each one's law, averaged over the posterior of all that the law reads.

A tilt t adds t · h(law) to the log-joint at each missing cell, and the gradient of log p at t = 0 is the posterior mean of h:
the prediction where h is the law's mean, the predictive distribution function where it is that of the law; and where each sum
chooses one of its terms, a draw of the law is one from the predictive distribution. Labels have tilts of their own beside."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

from vispec.catalog import Distribution, distributions
from vispec.factors.frame import element_plates
from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, ThenLaw, by_position, taken
from vispec.factors.make import Factors
from vispec.lower.asked.by_pairs import over_posterior, reads_pair
from vispec.lower.asked.derived import complete, whole
from vispec.lower.bound import total
from vispec.model.model import Model, Variable
from vispec.model.types import FINITE_DOMAINS, WHOLE_DOMAINS
from vispec.plan.gaussian.integrate import moments
from vispec.plan.held.along import changed
from vispec.plan.held.hold import values_axis
from vispec.plan.held.joint import joint
from vispec.plan.held.setting import Setting, tilts
from vispec.plan.order.problem import Factor
from vispec.plan.order.refuse import IntractableError
from vispec.plan.treat import told_apart
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.facts import is_tilted
from vispec.program.node import Call, Density, Draw, Input, Node, Noise, Part, Reduce, Structure, Zeros
from vispec.program.program import Program
from vispec.program.walk import nodes


@dataclass(frozen=True)
class Predicted:
    """program: log p of each row with tilts of what is asked of laws. zeros: variable → a tilt of nothing. orders: their axes.
    kinds: "finite"; "number" or "count"; "mean" where nothing else is known; "weighed" of what laws read, "drawn" of what
    has draws alone, "flat" without. samples: the axis of the draws of latents, whose number a call says. beyond: why
    the sums would take more than their budget, though
    those of log_prob, which leaves out what is missing, do not."""

    program: Program
    zeros: Program
    orders: Mapping[str, tuple[Axis, ...]]
    kinds: Mapping[str, str]
    samples: Axis | None
    beyond: str = ""


def predicted(f: Factors) -> Predicted | None:
    """None where nothing may be missing but labels that are summed, of which the posterior tells."""
    partial = [v for v in f.model.variables if v.role == "partial"]
    labels_too = FINITE_DOMAINS | WHOLE_DOMAINS
    numbers = [v for v in partial if v.type.domain not in labels_too or v.type.shape]  # several bits are no label
    alone = [v for v in partial if v not in numbers and told_apart(v, f.model)]
    if not numbers and not alone and (not partial or any(v.type.domain in WHOLE_DOMAINS for v in partial)):
        return None
    s = complete(f.model, f)
    if (
        not numbers
        and not alone
        and (s.draws.samples is None or (s.draws.drawn and any(learnt(v, s, f.model) for v in partial)))
    ):
        return None
    drawn_labels = [
        v for v in partial if v not in numbers and v.type.domain not in WHOLE_DOMAINS and s.treatments[v.name].kind == "draw"
    ]
    chances = {v.name: values_axis(f.frame, v) for v in (*drawn_labels, *alone)}
    told = {f"tilt_{v.name}": tilt_of(s, v) for v in numbers}
    told |= {f"tilt_{v.name}": tilt_at(s, v, chances[v.name]) for v in drawn_labels}
    told |= {f"tilt_{v.name}": tilt_by_chances(s, v, chances[v.name]) for v in alone}
    s = replace(s, joint=joint(s.f, s.treatments, s.draws, told))
    labels = {tilt.name.removeprefix("tilt_"): tilt for tilt in tilts(s)}
    labels = {name: tilt for name, tilt in labels.items() if f.model.variable[name].role == "partial"}
    chances |= {name: s.joint.held.values[name] for name in labels}
    if not numbers and not chances:
        return None
    orders = {v.name: (*map(f.frame.plate, v.plates), *f.frame.shape(v.type)) for v in numbers}
    orders |= {name: (*map(f.frame.plate, element_plates(f.model.variable[name])), values) for name, values in chances.items()}
    weighed = {v.name: "weighed" for v in numbers if s.treatments[v.name].kind == "draw"}
    kinds = {v.name: kind(s, v) for v in numbers} | weighed | dict.fromkeys(chances, "finite")
    kinds = {v.name: kinds[v.name] for v in partial if v.name in kinds}
    zeros = whole(s, {name: Zeros(order) for name, order in orders.items()})
    try:
        return Predicted(tilted(s, tuple(labels.values())), zeros, orders, kinds, s.draws.samples)
    except IntractableError as error:
        return Predicted(whole(s, {}), zeros, orders, kinds, None, error.why)


def learnt(variable: Variable, s: Setting, model: Model) -> bool:
    """Whether a label is summed under a guide of its own, which beside latents that are drawn has learnt to tell it."""
    return any(guide.name == variable.name for guide in model.guide) and s.treatments[variable.name].kind == "sum"


def tilted(s: Setting, more: tuple[Factor, ...]) -> Program:
    """log p of each row with tilts, for sums under an algebra; of draws, that of their mean weight."""
    found, _ = total(s, more, "total")
    if s.draws.samples is not None:
        found = build.sub(build.reduce("total", found, (s.draws.samples,)), build.log(build.extent(s.draws.samples)))
    return whole(s, {"tilted": build.spread(found, s.draws.rows)}).rewritten(summed_alone)


def kind(s: Setting, variable: Variable) -> str:
    """How much is known of its law."""
    if s.treatments[variable.name].kind not in ("draw", "integrate") and is_mean_alone(predictive(s, variable)):
        return "mean"
    laws = list(drawn(s.f.factors[variable.name].law))
    if any(law.distribution == "Flat" for law in laws):
        return "flat"
    if any(distributions()[law.distribution].log_cdf is None for law in laws):
        return "drawn"
    return "count" if variable.type.discrete else "number"


def drawn(law: Law) -> Iterator[DrawLaw]:
    match law:
        case DrawLaw():
            yield law
        case ChoiceLaw(_, then, otherwise):
            yield from (*drawn(then), *drawn(otherwise))
        case ThenLaw(_, laws):
            for each in laws:
                yield from drawn(each)


# ---- tilts


def tilt_of(s: Setting, variable: Variable) -> tuple[Node, frozenset[Axis]]:
    """A number's tilt times what is asked of its law, in its plates."""
    frame = s.f.frame
    shape, plates = frame.shape(variable.type), tuple(map(frame.plate, variable.plates))
    at = Input(variable.name, (*plates, *shape), "real", "values")
    treatment = s.treatments[variable.name]
    if treatment.kind == "draw":
        asked = of_draw(s.draws.held[frame.site(variable)], at)
    elif treatment.kind == "integrate":
        asked = of_law(marginal(s.draws.held[frame.site(variable)]), at, shape)
    else:
        asked = of_law(predictive(s, variable), at, shape)
    asked = frame.named(asked, f"told_{variable.name}")
    return build.reduce("sum", build.mul(Input(variable.name, at.order, "real", "tilt"), asked), shape), frozenset(plates)


def tilt_by_chances(s: Setting, variable: Variable, values: Axis) -> tuple[Node, frozenset[Axis]]:
    """The tilts of a label's values by how likely they are, where each has a latent's posterior alone to depend on."""
    plates = tuple(map(s.f.frame.plate, variable.plates))
    law = over_pairs(changed(s.f.factors[variable.name].law, s.draws.held), s)
    tilt = Input(variable.name, (*plates, values), "real", "tilt")
    return build.reduce("sum", build.mul(tilt, chances_of(law, values)), (values,)), frozenset(plates)


def chances_of(law: Law | Node, values: Axis) -> Node:
    """The probabilities of a label's values."""
    match law:
        case DrawLaw("Bernoulli", ((_, probs, _),)):
            return build.where(build.eq(build.position(values), 1), probs, build.sub(1.0, probs))
        case DrawLaw(_, ((_, probs, own),)):
            return build.rename(probs, {own[-1]: values})
        case ChoiceLaw(test, then, otherwise):
            return build.where(test, chances_of(then, values), chances_of(otherwise, values))
        case ThenLaw(axis, laws):
            return by_position(axis, [chances_of(each, values) for each in laws])
    raise TypeError(f"{type(law).__name__} of a label")


def over_pairs(law: Law | Node, s: Setting) -> Law | Node:
    """A law over the posterior of what is integrated by pairs, or the mean where that is all that is known."""
    match law:
        case DrawLaw() if reads_pair(law, s):
            return over_posterior(law, s)
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(test, over_pairs(then, s), over_pairs(otherwise, s))  # type: ignore[arg-type]
        case ThenLaw(axis, laws):
            return ThenLaw(axis, tuple(over_pairs(each, s) for each in laws))  # type: ignore[misc]
    return law


def tilt_at(s: Setting, variable: Variable, values: Axis) -> tuple[Node, frozenset[Axis]]:
    """The tilt of a label's value at its draw, in its plates."""
    frame = s.f.frame
    plates = tuple(map(frame.plate, variable.plates))
    tilt = Input(variable.name, (*plates, values), "real", "tilt")
    return build.pick(tilt, {values: s.draws.held[frame.site(variable)]}), frozenset(plates)


def of_law(law: Law | Node, at: Node, shape: tuple[Axis, ...]) -> Node:
    """What a caller asks of a law, and of its log-density and distribution function at a value; of one of which the mean alone
    is known, that."""
    match law:
        case Node():
            mean = build.apply("narrow", build.apply("real", law))
            given = ((build.node(nan), (), "log_density"), (build.node(nan), (), "cdf"), (at, (), "at"), (mean, (), "value"))
            return Part(Call("law", "", given, (((), "real"),), ()), 0)
        case DrawLaw(name, params):
            entry = distributions()[name]
            events = shape[len(shape) - entry.event_dim :] if entry.event_dim else ()
            own = [part for each, node, axes in params for part in taken(entry, each, node, axes)]
            log_density = build.node(nan) if events else Density(name, at, tuple(own), ())
            told = ((log_density, (), "log_density"), (cdf(entry, at, own), (), "cdf"))
            given = (*told, (at, events, "at"), *((build.apply("real", node), axes, each) for each, node, axes in params))
            return Part(Call("law", name, given, ((events, "real"),), ()), 0)
        case ChoiceLaw(test, then, otherwise):
            return build.where(test, of_law(then, at, shape), of_law(otherwise, at, shape))
        case ThenLaw(axis, laws):
            return by_position(axis, [of_law(each, at, shape) for each in laws])
    raise TypeError(f"{type(law).__name__} of what may be missing")


def marginal(value: Node) -> Law:
    """The law of a value that is affine in what is integrated, given all else."""
    told = moments(value)
    unknown = build.lt(0.0, told.variance)  # what is seen is known, and not asked for
    scale = build.where(unknown, build.apply("sqrt", build.where(unknown, told.variance, 1.0)), 1.0)
    return DrawLaw("Normal", (("loc", told.mean, ()), ("scale", scale, ())))


def predictive(s: Setting, variable: Variable) -> Law | Node:
    """A law over the posterior of all that is integrated, or its mean where that is all that is known."""
    gaussian = [name for name, found in s.treatments.items() if found.kind == "integrate"]
    return over_pairs(averaged(changed(s.f.factors[variable.name].law, s.draws.held), gaussian), s)


def is_mean_alone(law: Law | Node) -> bool:
    """Whether in some case no more than the mean is known."""
    match law:
        case ChoiceLaw(_, then, otherwise):
            return is_mean_alone(then) or is_mean_alone(otherwise)
        case ThenLaw(_, laws):
            return any(map(is_mean_alone, laws))
    return isinstance(law, Node)


def averaged(law: Law, gaussian: Sequence[str]) -> Law | Node:
    """A law over the posterior of what is integrated: normal ones around what is affine in it are normal again."""
    match law:
        case DrawLaw("Normal", ((_, loc, own), (_, scale, _))) if reads_gaussian(loc, gaussian):
            told = moments(loc)
            whole = build.apply("sqrt", build.add(told.variance, build.apply("square", scale)))
            return DrawLaw("Normal", (("loc", told.mean, own), ("scale", whole, own)))
        case DrawLaw("MultivariateNormal", ((_, loc, own), scale)) if reads_gaussian(loc, gaussian):
            return moments(loc).mean  # the covariances of what is integrated are not asked for
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(test, averaged(then, gaussian), averaged(otherwise, gaussian))  # type: ignore[arg-type]
        case ThenLaw(axis, laws):
            return ThenLaw(axis, tuple(averaged(each, gaussian) for each in laws))  # type: ignore[misc]
    return law


def reads_gaussian(node: Node, names: Sequence[str]) -> bool:
    return any(isinstance(each, Draw | Noise) and each.site in names for each in nodes([node]))


def of_draw(value: Node, at: Node) -> Node:
    """The same of what laws read, and so is drawn and weighed as latents are: its own value, for sure."""
    value = build.apply("real", value)
    below = build.apply("real", build.apply("le", value, at))
    given = ((build.node(nan), (), "log_density"), (below, (), "cdf"), (at, (), "at"), (value, (), "value"))
    return Part(Call("law", "", given, (((), "real"),), ()), 0)


def cdf(entry: Distribution, at: Node, params: Sequence[tuple[str, Node, tuple[Axis, ...]]]) -> Node:
    """P(X ≤ value), elementwise; no number where the law does not tell."""
    if entry.log_cdf is None:
        return build.node(nan)
    module = inspect.getmodule(entry.log_cdf)
    assert module is not None
    given = ((at, (), ""), *((build.apply("real", node), (), "") for _, node, _ in params))
    return build.exp(Part(Call("kernel", f"{module.__name__}:{entry.log_cdf.__name__}", given, (((), "real"),), ()), 0))


def summed_alone(node: Node) -> Node | None:
    """A sum that no tilt is part of is one under each algebra: what it chooses is told of nobody."""
    match node:
        case Reduce("total", arg, over) if not is_tilted(arg):
            return build.reduce("log_sum_exp", arg, over)
        case Structure(kind, given, binds, settings, "total") if not is_tilted(node):
            return Structure(kind, given, binds, settings, "sum")
    return None
