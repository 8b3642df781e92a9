"""Newton's method for many parameters: steps by conjugate gradients within a trust region (Steihaug 1983).

The Hessian is only met in products with vectors, each the difference of two gradients.
"""

from dataclasses import replace

import torch
from torch import Tensor

from vispec.train.newton.curvature import SMALL, Function
from vispec.train.newton.reach import in_units
from vispec.train.newton.state import State, rounding
from vispec.train.newton.trust import BENT, LEAST, kept, resized

PRODUCTS = 150  # most products of one step
ROUGH, FINE = 0.1, 1e-3  # of the gradient's length that a step may leave, far from the maximum and near it
NEAR = 1e-2  # nats
FAINT = 1e-4  # of the radius


def advance(f: Function, state: State, tolerance: float) -> State:
    """One accepted step, or the end: converged by the tolerance (nats), or stuck."""
    state = in_units(f, state)
    p, promised, decrement, saddle = truncated(f, state)
    found = replace(state, decrement=decrement, saddle=saddle, rounds=state.rounds + 1)
    if found.converged(tolerance):
        return found
    radius = found.radius
    while radius > LEAST:
        length = float(p.norm())
        short = p if length <= radius else p * (radius / length)
        share = min(1.0, radius / length)
        x = found.x + short / found.scale
        value, gradient = f(x)
        expected = promised * share  # of a shorter step, at least its share where the model is convex along it
        if kept(found, value, gradient, expected):
            ratio = (found.value - value) / max(expected, 1e-300)
            return replace(found, x=x, value=value, gradient=gradient, radius=resized(radius, float(short.norm()), ratio))
        radius = min(radius, length) / 4
    return replace(found, radius=radius, stuck=True)


def truncated(f: Function, state: State) -> tuple[Tensor, float, float, bool]:
    """A step (d,) in scaled variables, what the model promises of it, the decrement as far as it was found, and whether a
    direction of negative curvature was met."""
    g = state.gradient / state.scale
    if not bool(g.any()):
        return without_slope(f, state)
    z, r = torch.zeros_like(g), g.clone()
    p, enough = -r, (ROUGH if state.decrement > NEAR else FINE) * float(g.norm())
    decrement = 0.0
    for _ in range(min(PRODUCTS, 2 * len(g))):
        along = product(f, state, p)
        bend = float(p @ along)
        doubt = rounding(state.value) * float((p * state.unit / state.scale).norm() * p.norm()) / SMALL
        if bend <= -BENT * float(p @ p) - doubt:
            z = boundary(z, p, state.radius)
            return z, max(model(f, state, g, z), 0.0), decrement, True
        if bend <= 0:
            break
        alpha = float(r @ r) / bend
        decrement += 0.5 * alpha * float(r @ r)
        if float((z + alpha * p).norm()) >= state.radius:
            z = boundary(z, p, state.radius)
            return z, max(model(f, state, g, z), 0.0), float("inf"), False
        z = z + alpha * p
        fresh = r + alpha * along
        if float(fresh.norm()) < enough or 0.5 * float(fresh @ fresh) < 1e-14:
            break
        p, r = -fresh + float(fresh @ fresh) / float(r @ r) * p, fresh
    return z, decrement, decrement, False


def without_slope(f: Function, state: State) -> tuple[Tensor, float, float, bool]:
    """The same where the gradient is 0: on a saddle, which any direction shows that is not orthogonal to the way down."""
    p = torch.randn(state.x.shape, generator=torch.Generator().manual_seed(0), dtype=state.x.dtype).to(state.x)
    p *= FAINT * state.radius / p.norm()  # a slope so small that no step along it ends at the boundary before
    bent, _, _, saddle = truncated(f, replace(state, gradient=p * state.scale))
    promised = max(model(f, state, torch.zeros_like(p), bent), 0.0) if saddle else 0.0
    return (bent if saddle else torch.zeros_like(p)), promised, 0.0, saddle


def product(f: Function, state: State, p: Tensor) -> Tensor:
    """The Hessian in scaled variables times p (d,)."""
    h = SMALL / max(float(p.norm()), 1e-300)
    move = h * p / state.scale
    (high, above), (low, below) = f(state.x + move), f(state.x - move)
    if not max(abs(high), abs(low)) < float("inf"):
        return torch.zeros_like(p)
    return (above - below) / (2 * h) / state.scale


def model(f: Function, state: State, g: Tensor, z: Tensor) -> float:
    """What the quadratic model promises of the step z."""
    return -float(g @ z) - 0.5 * float(z @ product(f, state, z))


def boundary(z: Tensor, p: Tensor, radius: float) -> Tensor:
    """z + t p with t ≥ 0 and a length of `radius`."""
    a, b, c = float(p @ p), float(z @ p), float(z @ z) - radius * radius
    return z + p * ((-b + max(b * b - a * c, 0.0) ** 0.5) / a)
