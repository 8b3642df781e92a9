"""Posterior queries: the sums under another algebra, with a tilt for each latent, whose gradient is the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from vispec.factors.frame import element_plates
from vispec.lower.bound import combined, total
from vispec.plan.held.hold import digit
from vispec.plan.held.setting import Setting, tilts
from vispec.plan.order.execute import execute
from vispec.plan.order.order import Order
from vispec.plan.order.problem import Factor, Lag
from vispec.plan.order.refuse import IntractableError
from vispec.plan.treat import chain_of
from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.node import Input, Node, Zeros


@dataclass(frozen=True)
class Query:
    """tilted: log p of each row with tilts. zeros: latent → a tilt of nothing. inside: latent → which of its elements count.
    plates: latent → where it has one each."""

    tilted: Node
    order: Order
    zeros: dict[str, Node]
    inside: dict[str, Node]
    plates: dict[str, tuple[Axis, ...]]


def query(s: Setting, order: Order | None) -> Query | None:
    """What queries of the summed latents need; None where nothing is summed."""
    summed = [name for name, found in s.treatments.items() if found.kind == "sum"]
    if order is None:
        return None
    frame = s.f.frame
    plates = {name: tuple(map(frame.plate, element_plates(s.f.model.variable[name]))) for name in summed}
    node = execute(order, {each.name: each.node for each in (*s.joint.problem.factors, *tilts(s))}, "total")
    zeros = {name: Zeros((*plates[name], s.joint.held.values[name])) for name in summed}
    inside = {name: found for name in summed if (found := counted(plates[name])) is not None}
    return Query(combined(s, node, query=True), order, dict(zeros), inside, plates)


def counted(plates: Iterable[Axis]) -> Node | None:
    """Which elements a latent has in each row; None where in all rows all of them."""
    masks = [build.inside(axis) for axis in plates if axis.lengths is not None]
    return build.spread(build.both(*masks), plates) if masks else None


def pairs(s: Setting) -> tuple[Node, dict[str, Node], dict[str, int]] | None:
    """log p of each row with a tilt for each two neighbours of each chain, zeros for these, and the chain's place among the
    plates; None where no latent chains, or where they would take more than is allowed."""
    frame, held, model = s.f.frame, s.joint.held, s.f.model
    factors, zeros, along, lags = list[Factor](), dict[str, Node](), dict[str, int](), list[Lag]()
    for name in held.own:
        chain = chain_of(model.variable[name], model)
        if chain is None or name in s.f.guides:
            continue
        plate, plates = frame.plate(chain), tuple(map(frame.plate, element_plates(model.variable[name])))
        values = held.values[name]
        before = next((lag.values for lag in held.lags.values() if (lag.of, lag.axis, lag.steps) == (values, plate, 1)), None)
        if before is None:
            before = copy(values, values.hint + "'")
            lags += [] if held.along[name] else [Lag(before, values, plate, 1)]
        node: Node = Input(name, (*plates, before, values), "real", "tilt")
        if held.along[name]:
            now = digit(held.own[name], values, held.along[name])
            node = build.pick(node, {before: build.shift(now, plate, 1, build.node(0)), values: now})
        factors.append(Factor(f"pairs_{name}", node, frozenset(plates)))
        zeros[name] = Zeros((*plates, copy(before), values))
        along[name] = plates.index(plate)
    if not factors:
        return None
    problem = replace(s.joint.problem, lags=(*s.joint.problem.lags, *lags))
    try:
        node, _ = total(replace(s, joint=replace(s.joint, problem=problem)), tuple(factors))
    except IntractableError:  # they take more than log_prob, whose order has no place for them
        return None
    return combined(s, node, query=True), zeros, along
