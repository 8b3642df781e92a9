"""Second derivatives by differences of gradients: the emitted sums are differentiable once, and differences need no more."""

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[float, Tensor]]

SMALL, WIDE = 1e-5, 1e-3  # steps in units of 1 / scale, for two and for four gradients along each coordinate


def hessian(f: Function, x: Tensor, scale: Tensor, precise: bool = False) -> Tensor:
    """The symmetric (d, d) of central differences of the gradient at x (d,), with steps of 1 / scale (d,) times a small number.

    2d gradients, with an error of the order of 1e-10 in scaled variables; 4d and 1e-12 with `precise` (fourth order, Abramowitz
    and Stegun 25.3.21). A row with a gradient that is not finite on the way is nan.
    """
    steps = (WIDE if precise else SMALL) / scale
    rows = [_row(f, x, i, float(step), precise) for i, step in enumerate(steps)]
    found = torch.stack(rows) if rows else x.new_zeros(0, 0)
    return (found + found.T) / 2


def _row(f: Function, x: Tensor, i: int, step: float, precise: bool) -> Tensor:
    """The derivative of the gradient along coordinate i."""

    def slope(width: float) -> Tensor:
        up, down = x.clone(), x.clone()
        up[i] += width
        down[i] -= width
        (high, above), (low, below) = f(up), f(down)
        if not max(abs(high), abs(low)) < float("inf"):
            return torch.full_like(x, torch.nan)
        return (above - below) / (float(up[i]) - float(down[i]))

    return (4 * slope(step) - slope(2 * step)) / 3 if precise else slope(step)


def scale_of(h: Tensor, gradient: Tensor, value: float) -> Tensor:
    """Units (d,) in which the curvature is about one: max(|H_ii|, g_i² / (2|f| + 1))^½, and no less than 1e-8 of the largest."""
    found = torch.maximum(h.diagonal().abs(), gradient.square() / (2 * abs(value) + 1)).sqrt()
    return found.clamp(min=1e-8 * float(found.max()))
