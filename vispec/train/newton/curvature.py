"""Second derivatives by differences of gradients: the emitted sums are differentiable once, and differences need no more."""

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[float, Tensor]]

SMALL, WIDE = 1e-5, 1e-3  # steps in units of 1 / scale, for two and for four gradients along each coordinate
UNEVEN = 0.2  # of the slope's change to both sides: where they differ by more, a step is too long for a difference
SHORTER = 6  # times that a step may be divided by ten
NOISE = 1e-11  # changes of a slope below so much of it are rounding


def hessian(f: Function, x: Tensor, scale: Tensor, precise: bool = False) -> Tensor:
    """The symmetric (d, d) of central differences of the gradient at x (d,), with steps of 1 / scale (d,) times a small number.

    2d + 1 gradients, with an error of the order of 1e-10 in scaled variables; 4d + 1 and 1e-12 with `precise` (fourth order,
    Abramowitz and Stegun 25.3.21). Where the slope changes unevenly, as in the tail of a probability that goes to 0, the step
    is shorter. A row with a gradient that is not finite on the way is nan.
    """
    here = f(x)[1]
    rows = [_row(f, x, here, i, float(step), precise) for i, step in enumerate((WIDE if precise else SMALL) / scale)]
    found = torch.stack(rows) if rows else x.new_zeros(0, 0)
    return (found + found.T) / 2


def _row(f: Function, x: Tensor, here: Tensor, i: int, step: float, precise: bool) -> Tensor:
    """The derivative of the gradient along coordinate i."""
    near, even = _slope(f, x, here, i, step)
    for _ in range(SHORTER):
        if even:
            break
        step /= 10
        near, even = _slope(f, x, here, i, step)
    return (4 * near - _slope(f, x, here, i, 2 * step)[0]) / 3 if precise else near


def _slope(f: Function, x: Tensor, here: Tensor, i: int, step: float) -> tuple[Tensor, bool]:
    """The central difference of the gradient along coordinate i (d,), and whether both sides tell the same."""
    up, down = x.clone(), x.clone()
    up[i] += step
    down[i] -= step
    (high, above), (low, below) = f(up), f(down)
    if not max(abs(high), abs(low)) < float("inf"):
        return torch.full_like(x, torch.nan), False
    right, left = float(above[i] - here[i]), float(here[i] - below[i])
    change = abs(right) + abs(left)
    even = abs(right - left) <= UNEVEN * change or change < NOISE * (1 + float(here[i].abs()))
    return (above - below) / (float(up[i]) - float(down[i])), even


def scale_of(h: Tensor, gradient: Tensor, value: float, unit: Tensor | None = None) -> Tensor:
    """Units (d,) in which the curvature is about one: max(|H_ii|, g_i² / (2|f| + 1))^½; the second is a scale where the
    objective is flat. On a saddle where both are 0, the curvature beside the diagonal tells; where nothing does, any unit will
    do. What is 0 is told from rounding in a `unit` (d,) of each number.
    """
    if unit is not None:
        return unit * scale_of(h / unit[:, None] / unit, gradient / unit, value)
    found = torch.maximum(h.diagonal().abs(), gradient.square() / (2 * abs(value) + 1)).sqrt()
    least = 1e-14 * float(found.max()) if len(found) else 0.0
    beside = h.abs().amax(0).sqrt() if len(found) else found
    found = torch.where(found > least, found, beside)
    return torch.where(found > least, found, max(least, 1e-14) if least else 1.0)
