"""A row with each variable held as its treatment says: latents drawn in order, what is summed as a problem of sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vispec.factors.frame import element_plates
from vispec.factors.make import Factors
from vispec.model.model import Variable
from vispec.plan.estimate import closed_kl_is_right, draw_order, estimation, way_of
from vispec.plan.guides import is_shared
from vispec.plan.held.draws import Draws
from vispec.plan.held.hold import digit
from vispec.plan.held.joint import Joint, joint
from vispec.plan.held.mixed import mixed
from vispec.plan.held.shared import Shared
from vispec.plan.held.shared import shared as share
from vispec.plan.order.problem import Factor
from vispec.plan.treatment import Combine, Treatment
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Input, Node
from vispec.program.size import Size


@dataclass(frozen=True)
class Setting:
    """A row with its latents drawn, given what all rows share, and its factors to be summed."""

    f: Factors
    treatments: Mapping[str, Treatment]
    draws: Draws
    joint: Joint
    combine: Combine
    shared: Shared | None = None


def setting(f: Factors, treatments: Mapping[str, Treatment]) -> Setting:
    """Each variable held as its treatment says."""
    model, frame = f.model, f.frame
    shared = [v.name for v in model.variables if is_shared(v, model)]
    samples, combine = estimation(model, treatments, shared)
    axis = Axis("s*", "samples", Size.of(samples)) if samples > 1 else None
    integrated = frozenset(name for name, found in treatments.items() if found.kind == "integrate") - {*model.pairs}
    one = integrated if combine == "elbo" else integrated.union(shared)
    names = draw_order(model, [name for name, found in treatments.items() if found.kind == "draw" or name in integrated])
    f, weights = mixed(f, [name for name in names if mixes(model.variable[name], treatments[name])])
    draws = Draws(f, treatments, axis, one, everything=names, mixed=weights)
    orders = dict[str, tuple[Axis, ...]]()
    for name in (each for each in names if each in shared):
        lead = (axis,) if axis is not None and name not in one and not draws.way(name).point else ()
        variable = model.variable[name]
        orders[name] = (*lead, *map(frame.plate, variable.plates), *frame.shape(variable.type))
        draws.held[frame.site(variable)] = frame.named(Input(name, orders[name], "real", "shared"), name)
    draws.analytic = frozenset(name for name in names if analytic(name, draws, combine))
    draws.draw_all(name for name in names if name not in shared)
    common = share(f, treatments, axis, one, draws.analytic, orders)
    return Setting(f, treatments, draws, joint(f, treatments, draws), combine, common)


def mixes(variable: Variable, found: Treatment) -> bool:
    """Whether what is drawn of a latent is weights of its values."""
    bit = variable.type.domain == "bit"
    return found.estimator is not None and not bit and way_of(variable, found.estimator).mixes


def analytic(name: str, draws: Draws, combine: Combine) -> bool:
    """Whether a draw adds minus its divergence in closed form: the bound averages log-weights, the estimator leaves it so."""
    linear = combine == "elbo" and draws.way(name).closed
    return linear and name in draws.f.guides and closed_kl_is_right(name, draws.treatments, draws.model)


# ---- queries


def tilts(s: Setting) -> tuple[Factor, ...]:
    """What a query adds to the log-joint for each value of each latent that is summed."""
    names = [name for name, found in s.treatments.items() if found.kind == "sum"]
    plates = {name: tuple(map(s.f.frame.plate, element_plates(s.f.model.variable[name]))) for name in names}
    return tuple(Factor(f"tilt_{name}", tilt(s, name, plates[name]), frozenset(plates[name]), True) for name in names)


def tilt(s: Setting, name: str, plates: tuple[Axis, ...]) -> Node:
    """By a latent's joint values, it is added for each of their digits."""
    held = s.joint.held
    values, along = held.values[name], held.along[name]
    if not along:
        return Input(name, (*plates, held.own[name]), "real", "tilt")
    found = Input(name, (*plates, values), "real", "tilt")
    return build.pick(found, {values: digit(held.own[name], values, along)})
