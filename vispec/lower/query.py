"""Posterior queries: the sums under another algebra, with a tilt for each latent, whose gradient is the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vispec.factors.frame import element_plates
from vispec.lower.bound import combined, total
from vispec.plan.held.hold import digit
from vispec.plan.held.setting import Setting
from vispec.plan.order.order import Order
from vispec.plan.order.problem import Factor
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


def query(s: Setting) -> Query | None:
    """What queries of the summed latents need; None where nothing is summed."""
    summed = [name for name, found in s.treatments.items() if found.kind == "sum"]
    if not summed:
        return None
    frame = s.f.frame
    plates = {name: tuple(map(frame.plate, element_plates(s.f.model.variable[name]))) for name in summed}
    tilts = tuple(Factor(f"tilt_{name}", tilt(s, name, plates[name]), frozenset(plates[name]), True) for name in summed)
    node, order = total(s, tilts, "total")
    zeros = {name: Zeros((*plates[name], s.joint.held.values[name])) for name in summed}
    inside = {name: found for name in summed if (found := counted(plates[name])) is not None}
    return Query(combined(s, node, query=True), order, dict(zeros), inside, plates)


def tilt(s: Setting, name: str, plates: tuple[Axis, ...]) -> Node:
    """What is added to the log-joint for each value of a latent; by its joint values, for each of their digits."""
    held = s.joint.held
    values, along = held.values[name], held.along[name]
    if not along:
        return Input(name, (*plates, held.own[name]), "real", "tilt")
    found = Input(name, (*plates, values), "real", "tilt")
    return build.pick(found, {values: digit(held.own[name], values, along)})


def counted(plates: Iterable[Axis]) -> Node | None:
    """Which elements a latent has in each row; None where in all rows all of them."""
    masks = [build.inside(axis) for axis in plates if axis.lengths is not None]
    return build.spread(build.both(*masks), plates) if masks else None


def pairs(s: Setting) -> tuple[Node, dict[str, Node], dict[str, int]] | None:
    """log p of each row with a tilt for each two neighbours of each chain, zeros for these, and the chain's place among the
    plates; None where no latent chains."""
    frame, held = s.f.frame, s.joint.held
    chained = {lag.of: lag for lag in held.lags.values() if lag.steps == 1}
    names = [name for name, own in held.own.items() if own in chained and not held.along[name] and name not in s.f.guides]
    if not names:
        return None
    factors, zeros, along = list[Factor](), dict[str, Node](), dict[str, int]()
    for name in names:
        plates = tuple(map(frame.plate, element_plates(s.f.model.variable[name])))
        lag = chained[held.own[name]]
        node = Input(name, (*plates, lag.values, held.own[name]), "real", "tilt")
        factors.append(Factor(f"pairs_{name}", node, frozenset(plates)))
        zeros[name] = Zeros((*plates, copy(lag.values), held.own[name]))
        along[name] = plates.index(lag.axis)
    node, _ = total(s, tuple(factors))
    return combined(s, node, query=True), zeros, along
