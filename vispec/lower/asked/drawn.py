"""The posterior by weighted draws: all latents of a row drawn as the fit draws them, each with its weight p(row, z) / q(z).

What is summed beside them is told by a tilt with a number for each draw: its gradient is one draw of what is summed, its best
value or the probabilities of all, given the draws, by the algebra of the sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vispec.factors.expressions import named
from vispec.factors.frame import element_plates
from vispec.factors.make import Factors
from vispec.lower.asked.derived import axis_of
from vispec.lower.bound import total
from vispec.lower.weights import all_drawn, weighed_model, whole
from vispec.model.constant import derived_lets
from vispec.model.model import Estimator, Let, Model, Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import is_read
from vispec.plan.estimate import law_reads, source_of
from vispec.plan.guides import is_shared
from vispec.plan.held.adds import log_q
from vispec.plan.held.setting import Setting
from vispec.plan.held.sink import below
from vispec.plan.order.problem import Factor
from vispec.plan.treat import treat
from vispec.plan.treatment import Treatment
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Input, Node, Zeros
from vispec.program.program import Program
from vispec.program.walk import substitute

LOG_WEIGHTS, LOG_Q = "(log_weights)", "(log_q)"


@dataclass(frozen=True)
class Drawn:
    """samples: the axis of the draws, whose number a call says. program: LOG_WEIGHTS, log p(row, draws) − log q(draws), and
    LOG_Q, over it and the rows; each latent of a row that is drawn, and each let that no law reads and these decide, by name.
    zeros: 0 for each value of what has finitely many, over its plates. summed: what is summed; its tilt has the draws before
    these axes."""

    samples: Axis
    program: Program
    orders: Mapping[str, tuple[Axis, ...]]
    zeros: Program | None
    summed: tuple[str, ...]


def drawn(f: Factors) -> Drawn:
    """All of a row by weighted draws."""
    learnt = tuple(each for each in f.model.guide if is_read(f.model, each.name))  # no other guide has learnt anything
    s = held_so(replace(f.model, guide=learnt), f)
    samples, frame = s.draws.samples, s.f.frame
    assert samples is not None
    tilts = {name: tilt_order(s, name) for name, found in s.treatments.items() if found.kind == "sum"}
    more = [Factor(f"tilt_{n}", Input(n, order, "real", "tilt"), frozenset(order[1:-1])) for n, order in tilts.items()]
    weights, _ = total(s, tuple(more), "total" if tilts else "log_sum_exp")
    lead = (samples, *s.draws.rows)
    outputs = {LOG_WEIGHTS: build.spread(weights, lead), LOG_Q: build.spread(drawn_with(s), lead)}
    orders: dict[str, tuple[Axis, ...]] = {LOG_WEIGHTS: lead, LOG_Q: lead}
    values = {name: order[1:] for name, order in tilts.items()}
    for each in told(s, [*tilts]):
        outputs[each.name], orders[each.name] = whole(s, each)
        if each.type.domain in FINITE_DOMAINS and not each.type.shape:
            values[each.name] = (*orders[each.name][1:], axis_of(each, s))
    zeros = Program({name: Zeros(order) for name, order in values.items()}, frame.hints, frame.spans) if values else None
    return Drawn(samples, Program(outputs, frame.hints, frame.spans), orders, zeros, (*tilts,))


def held_so(model: Model, f: Factors) -> Setting:
    """Drawn is what the fit draws, and so is what it sums where draws differ by its value, or where it has joint values."""
    treatments = {v.name: treat(v, model, True) for v in model.variables}
    while True:
        s = all_drawn(weighed_model(model, treatments), f, complete=True)
        summed = {name for name, found in s.treatments.items() if found.kind == "sum"}
        read = {each for name in s.draws.drawn for each in law_reads(source_of(name, s.f.model), s.f.model)}
        more = summed & read | {name for name, along in s.joint.held.along.items() if along}
        if not more:
            return s
        treatments |= {name: as_drawn(model.variable[name]) for name in more}


def as_drawn(variable: Variable) -> Treatment:
    """A variable drawn from its guide, or else from its own law."""
    estimator = Estimator("score", (("samples", 2),), variable.span)
    return Treatment(variable.name, "draw", False, "asked for by draws", estimator, "score")


def tilt_order(s: Setting, name: str) -> tuple[Axis, ...]:
    """The axes of the tilt of a summed latent: the draws, its plates, its values."""
    assert s.draws.samples is not None
    plates = map(s.f.frame.plate, element_plates(s.f.model.variable[name]))
    return (s.draws.samples, *plates, s.joint.held.own[name])


def drawn_with(s: Setting) -> Node:
    """log q of all draws of a row, of what it was drawn from: guides, or the latents' own laws."""
    parts = list[Node]()
    for name, found in s.draws.drawn.items():
        variable = s.f.model.variable[name]
        jointly = s.f.model.joint is not None and name in s.f.model.joint.names
        if jointly or is_shared(variable, s.f.model) or s.draws.way(name).point:
            continue
        q = log_q(s.draws, variable, found)
        q = build.where(s.f.frame.observed(variable), 0.0, q) if variable.role == "partial" else q
        parts.append(build.reduce("sum", q, {*map(s.f.frame.plate, variable.plates)} - {*s.draws.rows}))
    if s.draws.log_q_jointly is not None:
        parts.append(s.draws.log_q_jointly)
    return build.add(*parts)


def told(s: Setting, summed: list[str]) -> list[Variable | Let]:
    """What is drawn of a row, and what the draws decide that no law reads."""
    model = s.f.model
    found: list[Variable | Let] = [variable for name in s.draws.drawn if not is_shared(variable := model.variable[name], model)]
    for let in derived_lets(model):
        (value,) = substitute([named(s.f.frame, let.name)], s.draws.held, s.f.frame.hints)
        in_rows = any(model.plate[plate].data for plate in let.plates)
        if in_rows and not below([value], summed)[value]:
            found.append(let)
    return found
