"""Integrals of densities by double-exponential rules (Takahasi and Mori 1974), which bear singular ends and heavy tails."""

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

STEP = 1 / 32
REACH = 4.5


def _places(rank: int) -> Tensor:
    return torch.arange(-REACH, REACH + STEP, STEP, dtype=torch.float64).view(-1, *[1] * rank)


def integral(density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """∫ density from low to high (*B), by x = middle + half tanh(π / 2 sinh u); density: (N, *B) → (N, *B)."""
    u = _places(low.dim())
    inner = pi / 2 * torch.sinh(u)
    share = torch.sigmoid(2 * inner)  # of the way from low to high, and of the way back
    x = torch.where(u < 0, low + (high - low) * share, high - (high - low) * torch.sigmoid(-2 * inner))
    weight = (high - low) * share * torch.sigmoid(-2 * inner) * pi * torch.cosh(u) * STEP
    inside = (x > low) & (x < high)  # what rounds to an end has no weight that counts
    middle = (low + high) / 2
    return torch.where(inside, weight * density(torch.where(inside, x, middle)), 0.0).sum(0)


def tail(density: Callable[[Tensor], Tensor], end: Tensor, sign: float) -> Tensor:
    """∫ density from end to sign · ∞ (*B), by x = end + sign exp(π / 2 sinh u)."""
    u = _places(end.dim())
    away = torch.exp(pi / 2 * torch.sinh(u))
    x = end + sign * away
    beyond = x != end
    found = away * (pi / 2) * torch.cosh(u) * STEP * density(torch.where(beyond, x, end + sign))
    return torch.where(beyond, found, 0.0).sum(0)
