"""log_prob: the log-density of a row summed exactly, or the bound on it that the samples' log-weights give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vispec.factors.make import Factors
from vispec.lower.draws import Draws
from vispec.lower.joint import Joint, joint
from vispec.lower.shared import Shared
from vispec.lower.shared import shared as share
from vispec.plan.estimate import closed_kl_is_right, draw_order, estimation
from vispec.plan.guides import is_shared
from vispec.plan.order.execute import execute
from vispec.plan.order.order import Order, order
from vispec.plan.order.problem import Factor
from vispec.plan.plan import Combine, Treatment
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
    one = frozenset() if combine == "elbo" else frozenset(shared)
    names = draw_order(model, [name for name, found in treatments.items() if found.kind == "draw"])
    draws = Draws(f, treatments, axis, one, everything=names)
    orders = dict[str, tuple[Axis, ...]]()
    for name in (each for each in names if each in shared):
        lead = (axis,) if axis is not None and name not in one and treatments[name].gradient != "point" else ()
        variable = model.variable[name]
        orders[name] = (*lead, *map(frame.plate, variable.plates), *frame.shape(variable.type))
        draws.held[frame.site(variable)] = frame.named(Input(name, orders[name], "real", "shared"), name)
    draws.analytic = frozenset(name for name in names if analytic(name, f, treatments, combine))
    draws.draw_all(name for name in names if name not in shared)
    common = share(f, treatments, axis, one, draws.analytic, orders)
    return Setting(f, treatments, draws, joint(f, treatments, draws), combine, common)


def analytic(name: str, f: Factors, treatments: Mapping[str, Treatment], combine: Combine) -> bool:
    """Whether a draw adds minus its divergence in closed form: the bound averages log-weights, the estimator leaves it so."""
    linear = combine == "elbo" and treatments[name].gradient in ("pathwise", "relaxed")
    return linear and name in f.guides and closed_kl_is_right(name, treatments, f.model)


def total(s: Setting, more: tuple[Factor, ...] = (), algebra: str = "log_sum_exp") -> tuple[Node, Order]:
    """The sum over all latents, with further factors, along the rows and the samples."""
    problem = replace(s.joint.problem, factors=(*s.joint.problem.factors, *more))
    found = order(problem)
    return execute(found, {each.name: each.node for each in problem.factors}, algebra), found


def combined(s: Setting, weights: Node) -> Node:
    """Log-weights of samples as one bound for each row, with the gradient that the estimators ask for."""
    samples = s.draws.samples
    if samples is None or samples not in weights.axes:
        return weights
    if s.combine == "elbo":
        return build.mean(weights, (samples,))
    count = samples.size.number if samples.size is not None else None
    assert count is not None
    return build.sub(build.reduce("log_sum_exp", weights, (samples,)), math.log(count))
