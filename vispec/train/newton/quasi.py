"""L-BFGS in variables scaled by the curvature, with a line search for weak Wolfe conditions by bisection.

The line search (Lewis and Overton 2013, algorithm 2.6) takes an infinite value for what it is, too far, and ends at kinks too,
where densities such as Laplace's have no curvature: strong conditions, which interpolate, do neither.
"""

from dataclasses import replace

import torch
from torch import Tensor

from vispec.train.newton.curvature import Function
from vispec.train.newton.state import State, rounding

MEMORY = 40
WINDOW = 10  # rounds over which gains are remembered
TRIALS = 60
ARMIJO, WOLFE = 1e-4, 0.9


def advance(f: Function, state: State) -> State:
    """One step downhill; stuck where the line search finds none."""
    slope, direction = downhill(state)
    if slope >= 0:
        return replace(state, stuck=True, rounds=state.rounds + 1)
    found = search(f, state, direction, slope)
    if found is None:
        if len(state.moves):  # once more from the gradient alone
            none = state.x.new_zeros(0)
            return replace(state, moves=none, turns=none, rounds=state.rounds + 1)
        return replace(state, stuck=True, rounds=state.rounds + 1)
    x, value, gradient = found
    moves, turns = remembered(state, (x - state.x) * state.scale, (gradient - state.gradient) / state.scale)
    gains = (*state.gains, state.value - value)[-WINDOW:]
    return replace(state, x=x, value=value, gradient=gradient, moves=moves, turns=turns, gains=gains, rounds=state.rounds + 1)


def slow(state: State, gain: float) -> bool:
    """Whether the last rounds have lowered the value by less than `gain` nats altogether."""
    return len(state.gains) == WINDOW and sum(state.gains) < gain


def downhill(state: State) -> tuple[float, Tensor]:
    """The slope along the direction −H⁻¹g of the remembered steps, and the direction (d,) in the variables themselves."""
    g = state.gradient / state.scale
    q, pairs = g.clone(), list(zip(state.moves, state.turns, strict=True)) if len(state.moves) else []
    weights: list[float] = []
    for s, y in reversed(pairs):
        a = float(s @ q / (s @ y))
        q -= a * y
        weights.append(a)
    if pairs:
        s, y = pairs[-1]
        q *= float(s @ y / (y @ y))
    elif float(q.norm()) > 1:
        q /= q.norm()  # a first step as long as one unit of scale
    for (s, y), a in zip(pairs, reversed(weights), strict=True):
        q += s * (a - float(y @ q / (s @ y)))
    return -float(g @ q), -q / state.scale


def search(f: Function, state: State, direction: Tensor, slope: float) -> tuple[Tensor, float, Tensor] | None:
    """A point along the direction that lowers the value and flattens the slope; the lowest seen where no trial does both."""
    low, high, t = 0.0, float("inf"), 1.0
    best: tuple[Tensor, float, Tensor] | None = None
    for _ in range(TRIALS):
        x = state.x + t * direction
        value, gradient = f(x)
        if not value < state.value + ARMIJO * t * slope:
            high = t
        else:
            if best is None or value < best[1]:
                best = x, value, gradient
            if float(gradient @ direction) < WOLFE * slope:
                low = t
            else:
                return best
        t = (low + high) / 2 if high < float("inf") else 2 * t
        if high - low < 1e-14 * max(high, 1e-300) or -slope * t < rounding(state.value) / 100:
            break
    return best


def remembered(state: State, move: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """The last steps with one more, where it shows a positive curvature."""
    if not float(move @ turn) > 1e-12 * float(move.norm() * turn.norm()):
        return state.moves, state.turns
    if not len(state.moves):
        return move[None], turn[None]
    return torch.cat([state.moves, move[None]])[-MEMORY:], torch.cat([state.turns, turn[None]])[-MEMORY:]
