"""The mass of a law at and beyond a bound and between two, and draws from between them.

`law` is its log_prob, log_cdf and log_survival; `whole` says that its values are whole numbers. Those at a bound count.
A bound may be infinite where there is none."""

import torch
from torch import Tensor

from vispec.kernels.probability import log_1_minus_exp


def log_tail(kernel, bound: Tensor, at_infinity: tuple[float, float], *params: Tensor) -> Tensor:
    """kernel(bound, *params), or one of two values where the bound is -∞ or ∞."""
    finite = bound.isfinite()
    ends = torch.where(bound > 0, at_infinity[1], at_infinity[0])
    return torch.where(finite, kernel(torch.where(finite, bound, 0.0), *params), ends)


def log_mass_below(law: tuple, bound: Tensor, whole: bool, *params: Tensor) -> Tensor:
    """log P(X ≤ bound), elementwise."""
    return log_tail(law[1], bound.floor() if whole else bound, (-torch.inf, 0.0), *params)


def log_mass_above(law: tuple, bound: Tensor, whole: bool, *params: Tensor) -> Tensor:
    """log P(X ≥ bound), elementwise."""
    return log_tail(law[2], bound.ceil() - 1 if whole else bound, (0.0, -torch.inf), *params)


def log_mass_between(law: tuple, low: Tensor | None, high: Tensor | None, whole: bool, *params: Tensor) -> Tensor:
    """log P(low ≤ X ≤ high), elementwise; -inf where nothing lies between them.

    From the tail in which both bounds are, so that nothing cancels that is not small; where they lie on both sides of the
    median it is 1 less both tails."""
    if high is None:
        return torch.zeros(()) if low is None else log_mass_above(law, low, whole, *params)
    if low is None:
        return log_mass_below(law, high, whole, *params)
    first = low.ceil() - 1 if whole else low  # P(X < low) is P(X ≤ first)
    below_low = log_tail(law[1], first, (-torch.inf, 0.0), *params).double()
    above_low = log_tail(law[2], first, (0.0, -torch.inf), *params).double()
    below_high = log_mass_below(law, high, whole, *params).double()
    above_high = log_tail(law[2], high.floor() if whole else high, (0.0, -torch.inf), *params).double()
    left, right = below_high < -0.7, above_low < -0.7
    larger = torch.where(left, below_high, above_low)
    smaller = torch.where(left, below_low, above_high)
    possible = (larger > smaller) & (low <= high)
    gap = torch.where(possible & (left | right), larger - smaller, 1.0)
    tail = torch.where(possible, larger, 0.0) + log_1_minus_exp(gap)
    outside = torch.where(possible & ~left & ~right, below_low.exp() + above_high.exp(), 0.0)
    across = possible & ~left & ~right & (outside < 1)
    middle = torch.log1p(-torch.where(across, outside, 0.0))
    found = torch.where(across, middle, torch.where(possible & (left | right), tail, -torch.inf))
    return found.to(below_high.dtype if not params else params[0].dtype)


def float_at(key: Tensor) -> Tensor:
    """The float64 of a place in the order of all of them: 0 for 0.0, 1 for the next larger one."""
    return torch.where(key < 0, -((-key).view(torch.double)), key.abs().view(torch.double))


@torch.no_grad()
def draw_between(law: tuple, low: Tensor | None, high: Tensor | None, whole: bool, *params: Tensor) -> Tensor:
    """A draw of the shape of low, high and params, in their dtype: the least number up to which a uniform share of the mass
    between the bounds lies, found among all float64 by halving; nan where there is no mass."""
    given = [each for each in (*params, low, high) if each is not None] or [torch.zeros(())]  # a law that is certain
    shape = torch.broadcast_shapes(*(each.shape for each in given))
    wide = [each.double() for each in params]
    low, high = (None if each is None else each.double() for each in (low, high))
    device = given[0].device
    share = torch.empty(shape, dtype=torch.double, device=device).uniform_(torch.finfo(torch.double).tiny, 1).log()
    wanted = log_mass_between(law, low, high, whole, *wide) + share
    edge = 0x7FEFFFFFFFFFFFFF  # the place of the largest finite number
    left = torch.full(shape, -edge, dtype=torch.int64, device=device)
    right = torch.full(shape, edge, dtype=torch.int64, device=device)
    for _ in range(65):
        middle = (left >> 1) + (right >> 1) + (left & right & 1)
        reached = log_mass_between(law, low, float_at(middle), whole, *wide) >= wanted
        left, right = torch.where(reached, left, middle + 1), torch.where(reached, middle, right)
        left = torch.minimum(left, right)
    drawn = float_at(right).masked_fill(wanted == -torch.inf, torch.nan)
    return (drawn if low is None and high is None else drawn.clamp(low, high)).to(given[0].dtype)
