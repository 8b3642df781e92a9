"""What all rows share: latents outside the data plate and the weights of nets that have a prior. Drawn once for a minibatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vispec.factors.make import Factors
from vispec.plan.held.adds import annealed, log_ratio, minus_kl
from vispec.plan.held.draws import Draws
from vispec.plan.treatment import Treatment
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Input, Node, Part
from vispec.program.program import Program


@dataclass(frozen=True)
class Shared:
    """program: a draw of each shared latent, then log p − log q of all that is shared. orders: latent → its axes."""

    program: Program
    orders: Mapping[str, tuple[Axis, ...]]


def shared(
    f: Factors,
    treatments: Mapping[str, Treatment],
    samples: Axis | None,
    one: frozenset[str],
    analytic: frozenset[str],
    orders: Mapping[str, tuple[Axis, ...]],
) -> Shared | None:
    """None where rows share nothing that is drawn."""
    names = list(orders)
    nets = [net.name for net in f.model.nets if net.random]
    if not names and not nets:
        return None
    draws = Draws(f, treatments, samples, one, tuple(names), analytic)
    draws.draw_all(names)
    parts = [whole(adds(draws, name), f, name, samples) for name in names]
    if draws.log_q_jointly is not None:
        parts.append(build.neg(annealed(f.model, averaged(draws.log_q_jointly, samples))))
    for name in nets:
        given = ((Input(name, (), "real", "net"), (), ""),)
        kl = Part(Call("kernel", "vispec.kernels.layers.bayesian:kl_of_weights", given, (((), "real"),), ()), 0)
        parts.append(build.neg(annealed(f.model, f.frame.named(kl, f"kl_{name}"))))
    values = {name: draws.drawn[name].value for name in names}
    outputs = {**values, "log_ratio": f.frame.named(build.add(*parts), "log_ratio")}
    return Shared(Program(outputs, f.frame.hints, f.frame.spans), dict(orders))


def adds(draws: Draws, name: str) -> Node:
    """What a shared latent adds."""
    variable, model = draws.model.variable[name], draws.model
    jointly = model.joint is not None and name in model.joint.names
    if name not in draws.f.guides and not jointly and not draws.way(name).point:
        return build.node(0.0)
    kl = minus_kl(draws, variable) if name in draws.analytic else None
    return log_ratio(draws, variable) if kl is None else kl


def whole(node: Node, f: Factors, name: str, samples: Axis | None) -> Node:
    """Summed over its plates, averaged over samples."""
    plates = tuple(map(f.frame.plate, f.model.variable[name].plates))
    return averaged(build.reduce("sum", node, plates), samples)


def averaged(node: Node, samples: Axis | None) -> Node:
    return build.mean(node, (samples,)) if samples is not None and samples in node.axes else node
