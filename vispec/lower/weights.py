"""Importance weights, posterior draws and divergences: every latent drawn from its guide as often as a call asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vispec.factors.expressions import named
from vispec.factors.make import Factors, factorise
from vispec.lower.bound import total
from vispec.model.model import Estimator, Flow, Infer, Let, Model, Variable
from vispec.model.walk import walk
from vispec.plan.estimate import draw_order, drawn_from, estimation, gradient_of, kind_of
from vispec.plan.guides import in_joint, is_shared
from vispec.plan.held.adds import log_prior, log_q, log_ratio
from vispec.plan.held.draws import Draws
from vispec.plan.held.joint import joint
from vispec.plan.held.setting import Setting
from vispec.plan.treat import treat
from vispec.plan.treatment import Treatment
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Node
from vispec.program.program import Program
from vispec.program.walk import substitute

LOG_P, LOG_Q = "(log_p)", "(log_q)"
NUMBERS = frozenset({"real", "positive", "unit", "simplex", "ordered", "cholesky", "count", "bit"})  # what has a mean


@dataclass(frozen=True)
class Weighed:
    """samples: the axis of the samples, whose number a call says. log_weights: over it and the rows. draws: of latents and of
    what is computed from them, by name; None where nothing is told by its draws. divergences: "ratio x" and, of numbers, "draw
    x". shared: draws of all that rows share and of what these decide, by name, and LOG_P and LOG_Q of each; None where none has
    a guide."""

    samples: Axis
    log_weights: Program
    draws: Program | None
    divergences: Program | None
    shared: Program | None
    orders: Mapping[str, tuple[Axis, ...]]


def weighed(f: Factors, treatments: Mapping[str, Treatment]) -> Weighed | None:
    """None where nothing is drawn, or where latents are summed by their joint values."""
    model = f.model
    _, combine = estimation(model, treatments, ())
    if combine == "exact":
        return None
    s = all_drawn(weighed_model(model, treatments), f)
    if any(s.joint.held.along.values()):
        return None
    samples = s.draws.samples
    assert samples is not None
    lead = (samples, *s.draws.rows)
    weights, _ = total(s)
    ratios = {name: ratio(s, name) for name in s.draws.drawn if is_guided(s, name)}
    orders = dict[str, tuple[Axis, ...]]({"log_weights": lead} | {f"ratio {name}": lead for name in ratios})
    divergences = {f"ratio {name}": build.spread(node, lead) for name, node in ratios.items()}
    for name in ratios:
        variable = s.f.model.variable[name]
        if variable.type.domain in NUMBERS and not any(model.plate[p].ragged for p in variable.plates):
            divergences[f"draw {name}"], orders[f"draw {name}"] = whole(s, variable)
    told = dict[str, Node]()
    common = [name for name in s.draws.drawn if is_shared(model.variable[name], model)]
    together = dict[str, Node]()
    if any(guessed(model, name) for name in common):
        for name in common:
            together[name], orders[name] = whole(s, model.variable[name])
        for let in fixed_lets(s, {*common}):
            together[let.name], orders[let.name] = whole(s, let)
        together[LOG_P], together[LOG_Q] = (build.spread(node, (samples,)) for node in densities(s, common))
        orders |= {LOG_P: (samples,), LOG_Q: (samples,)}
    if together or flows(model):
        for each in tellable(s):
            told[each.name], orders[each.name] = whole(s, each)
    program = lambda outputs: Program(outputs, f.frame.hints, f.frame.spans)  # noqa: E731
    return Weighed(
        samples,
        program({"log_weights": build.spread(weights, lead)}),
        program(told) if told else None,
        program(divergences) if divergences else None,
        program(together) if together else None,
        orders,
    )


def all_drawn(model: Model, like: Factors, complete: bool = False) -> Setting:
    """All drawn, what rows share too. complete: whether what log_prob leaves out takes part."""
    f = factorise(model, like.frame)
    treatments = {v.name: treat(v, model, complete) for v in model.variables}
    names = draw_order(
        model, [n for n, found in treatments.items() if found.kind in ("draw", "integrate") and n not in model.pairs]
    )
    draws = Draws(f, treatments, Axis("s*", "samples"), everything=names)
    draws.draw_all(names)
    return Setting(f, treatments, draws, joint(f, treatments, draws), "iwae")


def weighed_model(model: Model, treatments: Mapping[str, Treatment]) -> Model:
    """Every draw from its guide with its own weight, and what can be summed exactly summed without its guide."""
    summed = {name for name, found in treatments.items() if found.kind == "sum"}
    asked = tuple(
        Infer(name, weighing(found.estimator, name, model), None, None, model.variable[name].span)
        for name, found in treatments.items()
        if found.kind == "draw" and found.estimator is not None and found.gradient != "point"
    )
    kept = tuple(
        infer for infer in model.infer if treatments[infer.name].gradient == "point" and infer.estimator.name != "exact"
    )
    kept = tuple(infer for infer in kept if treatments[infer.name].kind == "draw")
    guide = tuple(each for each in model.guide if each.name not in summed)
    return replace(model, guide=guide, infer=(*kept, *asked), fit=())  # no annealing of what is weighed


def weighing(estimator: Estimator, name: str, model: Model) -> Estimator:
    if kind_of(estimator).own_law and not any(guide.name == name for guide in model.guide):
        return replace(estimator, settings=(("samples", 2),))
    variable = model.variable[name]
    plain = not variable.type.discrete and gradient_of(variable, estimator) != "score"
    settings = (("samples", 2), ("gradient", "pathwise" if plain else "score"))
    return Estimator("iwae", settings, estimator.span)


# ---- what is told of draws


def densities(s: Setting, names: list[str]) -> tuple[Node, Node]:
    """log p and log q of each draw of what rows share, together; what is drawn from its own law has the same in both, and a
    point has no log q."""
    log_p, q = list[Node](), list[Node]()
    for name in names:
        variable = s.f.model.variable[name]
        plates = tuple(map(s.f.frame.plate, variable.plates))
        prior = build.reduce("sum", log_prior(s.draws, variable), plates)
        log_p.append(prior)
        if name in s.f.guides:
            q.append(build.reduce("sum", log_q(s.draws, variable, s.draws.drawn[name]), plates))
        elif not s.draws.way(name).point and not in_joint(name, s.f.model):
            q.append(prior)
    if s.draws.log_q_jointly is not None:
        q.append(s.draws.log_q_jointly)
    return build.add(*log_p), build.add(*q)


def is_guided(s: Setting, name: str) -> bool:
    """Whether a draw adds log p − log q of one latent of a row alone."""
    variable, model = s.f.model.variable[name], s.f.model
    own = name in s.f.guides and variable.role == "latent" and not s.draws.way(name).point
    if not own or is_shared(variable, model):
        return False
    values = {axis for axis in s.joint.held.own.values()}
    factor = next((each for each in s.joint.problem.factors if each.name == f"ratio_{name}"), None)
    return factor is not None and not factor.node.axes & values


def ratio(s: Setting, name: str) -> Node:
    """log p − log q of a row, summed over its plates."""
    node = log_ratio(s.draws, s.f.model.variable[name])
    plates = {*map(s.f.frame.plate, s.f.model.variable[name].plates)} - {*s.draws.rows}
    return build.reduce("sum", node, plates)


def fixed_lets(s: Setting, names: set[str]) -> list[Let]:
    """The deterministic nodes outside the data plate that read some of these latents and nothing else that is drawn or seen."""
    model = s.f.model
    outside = [let for let in model.lets if not any(model.plate[plate].data for plate in let.plates)]
    numbers = [let for let in outside if let.type.domain in NUMBERS and not let.type.star]
    return [let for let in numbers if (read := reads_of(let, model)) and read <= names]


def whole(s: Setting, told: Variable | Let) -> tuple[Node, tuple[Axis, ...]]:
    """A variable's or a let's value with the samples and all its plates."""
    frame, samples = s.f.frame, s.draws.samples
    assert samples is not None
    (value,) = substitute([named(frame, told.name)], s.draws.held, frame.hints)
    order = (samples, *map(frame.plate, told.plates), *frame.shape(told.type))
    return build.spread(value, order), order


def guessed(model: Model, name: str) -> bool:
    """Whether a guide stands for the posterior of a latent."""
    return any(guide.name == name for guide in model.guide) or in_joint(name, model)


def flows(model: Model) -> bool:
    """Whether a guide is told by its draws alone."""
    return any(isinstance(guide.law, Flow) for guide in model.guide)


def tellable(s: Setting) -> list[Variable | Let]:
    """Drawn latents that are numbers, then the deterministic nodes that read nothing hidden but them."""
    model = s.f.model
    latents = {v.name for v in model.variables if v.role == "latent"}
    point = {name for name in s.draws.drawn if s.draws.way(name).point}
    names = [
        name
        for name in s.draws.drawn
        if all(guessed(model, each) or each in point for each in drawn_from(frozenset({name}), model) & latents)
    ]
    found: list[Variable | Let] = [
        model.variable[n] for n in names if model.variable[n].type.domain in NUMBERS and model.variable[n].role == "latent"
    ]
    hidden = {v.name for v in model.variables if v.role in ("latent", "partial")} - {*names}
    for let in model.lets:
        read = drawn_from(reads_of(let, model), model)
        if read & {*names} and not read & hidden and let.type.domain in NUMBERS and not let.type.star:
            found.append(let)
    return found


def reads_of(let: Let, model: Model) -> frozenset[str]:
    """Variables that a deterministic node reads, through others."""
    lets = model.let
    found, pending = set[str](), [let.value]
    while pending:
        for part in walk(pending.pop()):
            name = getattr(part, "name", None)
            if isinstance(name, str) and name not in found:
                found.add(name)
                pending += [lets[name].value] if name in lets else []
    return frozenset(found & {*model.variable})
