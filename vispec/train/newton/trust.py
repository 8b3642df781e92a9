"""A trust region around Newton's method, indifferent to units and to saddles (Nocedal and Wright 2006, chapter 4).

Variables are scaled by the curvature at each point, so that a change of units changes nothing; directions of negative curvature
are followed by its absolute value (Dauphin et al. 2014). An infinite value is a refused step.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vispec.train.newton.curvature import SMALL, Function, hessian, scale_of
from vispec.train.newton.reach import in_units
from vispec.train.newton.state import State, rounding

FLAT = 1e-9  # curvature in scaled variables below which the objective does not know a direction
DOUBTFUL = 1e-7  # below it, differences of two gradients do not tell a small curvature from none
BENT = 1e-6  # of the largest: more negative than this is a saddle, less is rounding
LEAST = 1e-10  # radius at which no step downhill is left


@dataclass(frozen=True)
class Bends:
    """Curvatures w (d,) in scaled variables along orthonormal directions q (d, d), and the gradient c (d,) along these, which
    is exactly 0 where neither can be told from rounding: there is nothing to go for."""

    w: Tensor
    q: Tensor
    c: Tensor


def advance(f: Function, state: State, tolerance: float) -> State:
    """One accepted step, or the end: converged by the tolerance (nats), or stuck."""
    state = in_units(f, state)
    h, scale = curvature(f, state)
    bends, found = measured(state, h, scale)
    if bends is not None and found.converged(tolerance) and float(bends.w.abs().min()) < DOUBTFUL:
        bends, found = measured(state, hessian(f, state.x, scale, precise=True), scale)
    if bends is None:
        return found
    return polished(f, found, bends) if found.converged(tolerance) else step(f, found, bends)


def polished(f: Function, state: State, bends: Bends) -> State:
    """The last step to the maximum of the model, unless rounding makes it one down: what is left of the estimates' error."""
    x = state.x - bends.q @ (bends.c / bends.w.abs().clamp(min=FLAT)) / state.scale
    value, gradient = f(x)
    if value <= state.value + rounding(state.value):
        return replace(state, x=x, value=value, gradient=gradient)
    return state


def measured(state: State, h: Tensor, scale: Tensor) -> tuple[Bends | None, State]:
    """The curvature, and the state that knows it; stuck, without any, where the Hessian (d, d) is not finite."""
    state = replace(state, scale=scale, scaled=True, rounds=state.rounds + 1)
    if not bool(h.isfinite().all()):
        return None, replace(state, stuck=True)
    w, q = torch.linalg.eigh(h / scale[:, None] / scale)
    c = q.T @ (state.gradient / scale)
    noise = rounding(state.value) * (q * (state.unit / scale)[:, None]).norm(dim=0)  # of c; w's is divided by a step
    c = torch.where((w.abs() < FLAT + noise / SMALL) & (c.abs() < 30 * noise), 0.0, c)
    decrement = 0.5 * float((c.square() / w.abs().clamp(min=FLAT)).sum())
    bent = bool((w < -BENT * w.abs().max() - noise / SMALL).any())
    ridge = bent and abs(float(c[0])) < BENT * max(1.0, float(c.norm()))
    return Bends(w, q, c), replace(state, decrement=decrement, saddle=bent, ridge=ridge)


def curvature(f: Function, state: State) -> tuple[Tensor, Tensor]:
    """The Hessian (d, d) and the scale (d,)."""
    h = hessian(f, state.x, state.scale)
    scale = scale_of(h.nan_to_num(), state.gradient, state.value, state.unit)
    return (h, torch.maximum(scale, state.scale / 2)) if state.scaled else (hessian(f, state.x, scale), scale)


def step(f: Function, state: State, bends: Bends) -> State:
    """The first step that the model promises and the objective keeps, in a region that shrinks until there is one."""
    bent, radius = bends.w.abs().clamp(min=FLAT), state.radius
    while radius > LEAST:
        p = within(bent, bends.c, radius)
        if state.saddle and abs(float(p[0])) < radius / 10:  # on the ridge itself the gradient does not say which way
            p[0] = state.side * (radius / 10 if p[0] >= 0 else -radius / 10)
        promised = -float(bends.c @ p + 0.5 * (bends.w * p * p).sum())
        x = state.x + bends.q @ p / state.scale
        value, gradient = f(x)
        if kept(state, value, gradient, promised):
            ratio = (state.value - value) / max(promised, 1e-300)
            return replace(state, x=x, value=value, gradient=gradient, radius=resized(radius, float(p.norm()), ratio))
        radius = min(radius, float(p.norm())) / 4
    real = state.saddle and state.decrement > rounding(state.value) ** 0.5  # a way down that no step takes is rounding
    return replace(state, radius=radius, saddle=real, stuck=True)


def kept(state: State, value: float, gradient: Tensor, promised: float) -> bool:
    """Whether a step lowers the value as promised; where that is below rounding, whether it shortens the gradient."""
    if promised > 100 * rounding(state.value):
        return value < state.value - 1e-4 * promised  # false for infinities
    shorter = (gradient / state.scale).norm() < 0.9 * (state.gradient / state.scale).norm()
    return value <= state.value + 100 * rounding(state.value) and bool(shorter)


def resized(radius: float, length: float, ratio: float) -> float:
    """The next radius, by how much of the promised decrease there was."""
    if 0.85 < ratio < 1.15:
        return max(radius, 4 * length)
    if ratio > 0.6:
        return max(radius, 2 * length)
    return radius / 2 if ratio < 0.2 else radius


def within(w: Tensor, c: Tensor, radius: float) -> Tensor:
    """argmin c·p + ½ p·diag(w) p with |p| ≤ radius, all w > 0."""
    p = -c / w
    if p.norm() <= radius:
        return p
    low, high = 1e-12, 1e12
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if (c / (w + middle)).norm() > radius else (low, middle)
    return -c / (w + high)
