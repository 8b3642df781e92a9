"""log_prob: the log-density of a row summed exactly, or the bound on it that the samples' log-weights give."""

from __future__ import annotations

from dataclasses import replace

from vispec.catalog import distributions
from vispec.estimators.entry import Way, Weights
from vispec.estimators.ways import plain
from vispec.model.types import FINITE_DOMAINS, WHOLE_DOMAINS
from vispec.model.walk import draws
from vispec.plan.guides import BASELINE
from vispec.plan.held.adds import log_q as log_q_of
from vispec.plan.held.setting import Setting
from vispec.plan.order.execute import execute
from vispec.plan.order.order import Order
from vispec.plan.order.problem import Factor
from vispec.plan.order.refuse import ABSURD
from vispec.plan.planner import cheapest
from vispec.program import build
from vispec.program.axis import ordered
from vispec.program.node import Call, Node, Part, Reduce, Structure
from vispec.program.walk import substitute


def total(s: Setting, more: tuple[Factor, ...] = (), algebra: str = "log_sum_exp") -> tuple[Node, Order]:
    """The sum over all latents, with further factors, along the rows and the samples, in the cheapest order. What is planned is
    within its budget, so this is not asked again."""
    problem = replace(s.joint.problem, factors=(*s.joint.problem.factors, *more), work=ABSURD)
    found = cheapest(problem)
    return execute(found, {each.name: each.node for each in problem.factors}, algebra), found


def summed(s: Setting, order: Order) -> Node:
    """The same of what a row has, in the order that is planned: one for each row, where all are alike too."""
    return build.spread(execute(order, {each.name: each.node for each in s.joint.problem.factors}), s.draws.rows)


def combined(s: Setting, weights: Node, query: bool = False) -> Node:
    """Log-weights of samples as one bound for each row, with the gradient that the estimators ask for. A query takes the value
    alone: its gradient is that of its tilts."""
    if s.combine == "exact":
        return weights if query or never_impossible(s) else impossible_alone(weights)
    ways = dict[str, Way]()
    settings = dict[str, list[dict[str, object]]]()
    for name, found in s.treatments.items():
        if found.kind == "draw" and not (way := s.draws.way(name)).point:
            ways[way.name] = way
            settings.setdefault(way.name, []).append(s.draws.settings(name))
    told = Weights(weights, s.draws.samples, s.draws.rows, s.combine, lambda: build.node(0.0), s.draws.weight, baseline(s), ())
    for way in ways.values():
        if way.told is not None and not query:
            told = replace(told, node=way.told(told))
    own = [way for way in ways.values() if way.combined is not None and (not query or s.draws.weight is not None)]
    if not own:
        return plain(told.node, s.draws.samples, s.combine)
    way = min(own, key=lambda each: each.rank)
    assert way.combined is not None
    return way.combined(replace(told, log_q=lambda: log_q(s, way), settings=tuple(settings[way.name])))


def never_impossible(s: Setting) -> bool:
    """Whether each value that may be scored has a density: nothing has finitely many, no law is narrower than its domain."""
    scored = [variable for variable in s.f.model.variables if variable.role != "given"]
    entries = [distributions()[draw.distribution] for v in scored if v.law is not None for draw in draws(v.law)]
    finite = any(variable.type.domain in FINITE_DOMAINS | WHOLE_DOMAINS for variable in scored)
    return all(entry.everywhere for entry in entries) and not finite


def impossible_alone(weights: Node) -> Node:
    """The same, without a gradient where it is -inf; one sum over latents has none there by itself."""
    if isinstance(weights, Structure) or (isinstance(weights, Reduce) and weights.op == "log_sum_exp"):
        return weights
    own = tuple(ordered(weights.axes))
    given = ((weights, own, ""),)
    return Part(Call("kernel", "vispec.kernels.sums.logsum:impossible_alone", given, ((own, "real"),), ()), 0)


def log_q(s: Setting, way: Way) -> Node:
    """log q of all draws that are made in one way: one number for each row and sample."""
    parts = list[Node]()
    for name, found in s.draws.drawn.items():
        if s.draws.way(name).name != way.name:
            continue
        variable = s.f.model.variable[name]
        q = log_q_of(s.draws, variable, found)
        if variable.role == "partial":
            q = build.where(s.f.frame.observed(variable), 0.0, q)
        parts.append(build.reduce("sum", q, {*map(s.f.frame.plate, variable.plates)} - {*s.draws.rows}))
    return s.f.frame.named(build.add(*parts), "log_q")


def baseline(s: Setting) -> Node | None:
    """What a net guesses of a row's bound, where there is one for that."""
    found = s.f.lets.get(BASELINE)
    return None if found is None else substitute([found], s.draws.held)[0]
