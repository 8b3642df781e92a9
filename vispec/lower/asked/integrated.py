"""The posterior of latents that are integrated: the mean and the deviation of each of their numbers.

Given what is summed beside them they are known in closed form; then a tilt t adds t · (mean, mean² + variance) to the
log-joint, and the gradient of log p at t = 0 averages these over the posterior of the sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from vispec.lower.bound import combined, total
from vispec.plan.conjugate.families import Posterior
from vispec.plan.conjugate.integrate import latents_of, posterior
from vispec.plan.gaussian.integrate import moments
from vispec.plan.gaussian.moments import Moments
from vispec.plan.held.joint import joint
from vispec.plan.held.setting import Setting, setting
from vispec.plan.order.refuse import IntractableError
from vispec.plan.treat import treat
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Input, Node, Zeros
from vispec.program.program import Program


@dataclass(frozen=True)
class MomentTilts:
    """program: log p with tilts "z mean" and "z square". zeros: tilts of nothing. orders: of latents, their axes."""

    program: Program
    zeros: Program
    orders: Mapping[str, tuple[Axis, ...]]


def names_of(s: Setting) -> list[str]:
    return [name for name, found in s.treatments.items() if found.kind == "integrate"]


def everything(s: Setting) -> Setting:
    """With the latents too that log_prob leaves out, as nothing that is seen depends on them."""
    model = s.f.model
    left_out = [name for name in model.integrated if s.treatments[name].kind == "free"]
    return setting(s.f, {v.name: treat(v, model, True) for v in model.variables}) if left_out else s


def told_of(s: Setting, name: str) -> Moments | Posterior:
    """The mean and the variance of a latent's numbers, given what is summed."""
    site = s.f.frame.site(s.f.model.variable[name])
    return posterior(site) if name in s.f.model.pairs else moments(s.draws.held[site])


def may_be_infinite(s: Setting, name: str) -> bool:
    return not latents_of(s.f, [name])[name].family.has_moments


def apart(what: str, node: Node) -> Iterator[tuple[str, Node]]:
    """A moment that may be infinite, and times a tilt of nothing no number: where it is finite, and 1 where it is not."""
    infinite = build.eq(node, float("inf"))
    yield what, build.where(infinite, 0.0, node)
    yield f"infinite_{what}", build.where(infinite, 1.0, 0.0)


def sums(s: Setting) -> bool:
    return any(found.kind == "sum" for found in s.treatments.values())


def order_of(s: Setting, name: str) -> tuple[Axis, ...]:
    return s.f.frame.axes_of(s.f.model.variable[name])


def in_closed_form(s: Setting) -> dict[str, Node]:
    """ "z mean" and "z sd" of each, where nothing is summed beside them."""
    if sums(s) or s.combine != "exact" or not names_of(s):
        return {}
    found = dict[str, Node]()
    for name in names_of(s):
        told = told_of(s, name)
        found[f"{name} mean"] = told.mean
        found[f"{name} sd"] = build.apply("sqrt", build.apply("max", told.variance, 0.0))
    nodes = resolved(s, found)
    return {name: build.spread(nodes[name], order_of(s, name.partition(" ")[0])) for name in found}


def resolved(s: Setting, asked: Mapping[str, Node]) -> dict[str, Node]:
    """Values that ask for posterior moments, with these."""
    whole = joint(s.f, s.treatments, s.draws, {name: (node, frozenset[Axis]()) for name, node in asked.items()})
    return {each.name: each.node for each in whole.problem.factors if each.asks}


def by_tilts(s: Setting) -> MomentTilts | None:
    """The same where labels are summed; None elsewhere."""
    if not sums(s) or s.combine != "exact" or not names_of(s):
        return None
    frame, orders, tilts = s.f.frame, dict[str, tuple[Axis, ...]](), dict[str, tuple[Node, frozenset[Axis]]]()
    for name in names_of(s):
        variable, order = s.f.model.variable[name], order_of(s, name)
        told = told_of(s, name)
        square = build.add(told.variance, build.apply("square", told.mean))
        asked = {"mean": told.mean, "square": square}
        if isinstance(told, Posterior) and name in s.f.model.pairs and may_be_infinite(s, name):
            asked = {what: part for key, node in asked.items() for what, part in apart(key, node)}
        for what, node in asked.items():
            key = f"{name} {what}"
            orders[key] = order
            added = build.mul(Input(key, order, "real", "tilt"), node)
            plates = tuple(map(frame.plate, variable.plates))
            tilts[f"tilt_{key}"] = build.reduce("sum", added, frame.shape(variable.type)), frozenset(plates)
    tilted = replace(s, joint=joint(s.f, s.treatments, s.draws, tilts))
    try:
        node, _ = total(tilted)
    except IntractableError:
        return None
    program = Program({"tilted": combined(tilted, node, query=True)}, frame.hints, frame.spans)
    zeros = Program({key: Zeros(order) for key, order in orders.items()}, frame.hints, frame.spans)
    return MomentTilts(program, zeros, orders)
