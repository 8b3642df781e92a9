"""How far a number reaches: the width over which an objective changes by about a nat, or bends, in whatever unit it has.

Widths are sought by factors, first of ten and then of its powers, so that no unit is nearer than another.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf, isfinite, log10, sqrt

import torch
from torch import Tensor

from vispec.train.newton.curvature import Function
from vispec.train.newton.state import State

FIRST = 1e-2  # a first width where the gradient proposes none
LITTLE, MUCH = 0.1, 10.0  # nats that count as about one
HUGE = 1e-9  # of a value: so much counts as a nat where the value is so large that nats are rounding
FARTHEST = 40.0  # decades from a first width
CLOSE = 1.01  # ratio of two widths that are taken for one
HALF = 0.5  # of the gradient's change to both sides: so much of it is uneven where a number bends
LOCAL = 1e-2  # a width of differences in units of the curvature
FAINT = 1e-12  # of the objective, or the gradient: a change below which there is none


def reach(f: Function, x: Tensor, i: int, value: float, slope: float) -> float | None:
    """The width along coordinate i over which the value at x (d,) changes by about a nat; None where none does."""
    nat = 1 + HUGE * abs(value)

    def size(width: float) -> int:
        sides = (f(moved(x, i, step))[0] for step in (width, -width))
        change = max(abs(side - value) for side in sides)
        return -1 if change < LITTLE * nat else 1 if not change <= MUCH * nat else 0

    return between(size, 1 / abs(slope) if 1e-60 < abs(slope) < 1e60 else FIRST)


def bend(f: Function, x: Tensor, i: int, here: Tensor) -> float | None:
    """The width along coordinate i over which the gradient `here` (d,) at x (d,) ceases to change evenly; None where it does
    not change, or evenly however far."""

    def size(width: float) -> int:
        (high, above), (low, below) = f(moved(x, i, width)), f(moved(x, i, -width))
        if not max(abs(high), abs(low)) < inf:
            return 1
        right, left = above - here, here - below
        change = right.abs() + left.abs()
        clear = change > 1e-8 * (above.abs() + below.abs())
        return 1 if bool(((right - left).abs() > HALF * change)[clear].any()) else -1

    return between(size, FIRST, exact=True)


def between(size: Callable[[float], int], width: float, exact: bool = False) -> float | None:
    """A width that is neither too small, where `size` is -1, nor too large, where it is 1: of a function that grows. None where
    all are the one or the other, or nothing lies between, as where the objective is flat and then infinite. exact: nothing
    does, and the largest small one is meant."""
    small, large, stride = 0.0, inf, 10.0
    first = log10(width)
    while True:
        found = size(width)
        if found == 0:
            return width
        if found < 0:
            small = width
        else:
            large = width
        if small and large < inf:
            if large / small < CLOSE:
                return small if exact else None
            width = sqrt(small) * sqrt(large)
        else:
            width = width * stride if found < 0 else width / stride
            stride *= stride
            if not 1e-100 < width < 1e100 or abs(log10(width) - first) > FARTHEST:
                return None


def curvature(f: Function, x: Tensor, i: int) -> float:
    """|H_ii| at x (d,) by differences of gradients over a width that suits it; 0 where the objective is flat."""
    value, gradient = f(x)
    width = reach(f, x, i, value, float(gradient[i])) if isfinite(value) else None
    if width is None:
        return 0.0
    rough = h = 2 / width**2  # of a parabola that rises by one nat
    for _ in range(3):
        (high, above), (low, below) = f(moved(x, i, width)), f(moved(x, i, -width))
        if not max(high, low) < inf:
            return rough
        apart = float((x[i] + width) - (x[i] - width))
        h = abs(float(above[i] - below[i])) / apart if apart > 0 else 0.0
        if h * width * width < FAINT * (1 + abs(high)):
            return rough
        width = LOCAL / sqrt(h)
    return h


def in_units(f: Function, state: State) -> State:
    """The state with units, which are a first scale: measured without asking how large the numbers are."""
    if len(state.unit) == len(state.x):
        return state
    scale = units(f, state.x, state.value, state.gradient)
    unit = scale / sqrt(1 + abs(state.value))  # far from what fits, the value changes fast
    return replace(state, unit=unit, scale=state.scale if state.scaled else scale)


def units(f: Function, x: Tensor, value: float, gradient: Tensor) -> Tensor:
    """Units (d,) over whose inverses the objective changes by about a nat; 1 where it does not change."""
    widths = [reach(f, x, i, value, float(gradient[i])) for i in range(len(x))]
    return torch.tensor([1 / width if width is not None else 1.0 for width in widths]).to(x)


def moved(x: Tensor, i: int, step: float) -> Tensor:
    """x (d,) with coordinate i moved."""
    found = x.clone()
    found[i] += step
    return found
