"""Integrals of densities by double-exponential rules (Takahasi and Mori 1974), which bear singular ends and heavy tails."""

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

STEP = 1 / 32
REACH = 6.0


def _places(rank: int) -> Tensor:
    return torch.arange(-REACH, REACH + STEP, STEP, dtype=torch.float64).view(-1, *[1] * rank)


def _total(density: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor, inside: Tensor) -> Tensor:
    """Σ weight · density(x) over the first dimension, of the places that count: elsewhere a density of 0 has no gradient."""
    with torch.no_grad():
        share = torch.where(inside, weight * density(x), 0.0).nan_to_num(nan=0.0, posinf=0.0)
        best = x.gather(0, share.argmax(0, keepdim=True))
        counts = share > 1e-25 * share.amax(0)
    return torch.where(counts, weight * density(torch.where(counts, x, best)), 0.0).sum(0)


def integral(density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """∫ density from low to high (*B), by x = middle + half tanh(π / 2 sinh u); density: (N, *B) → (N, *B)."""
    u = _places(low.dim())
    inner = pi / 2 * torch.sinh(u)
    share = torch.sigmoid(2 * inner)  # of the way from low to high, and of the way back
    x = torch.where(u < 0, low + (high - low) * share, high - (high - low) * torch.sigmoid(-2 * inner))
    weight = (high - low) * share * torch.sigmoid(-2 * inner) * pi * torch.cosh(u) * STEP
    return _total(density, x, weight, (x > low) & (x < high))  # what rounds to an end has no weight that counts


def tail(density: Callable[[Tensor], Tensor], end: Tensor, sign: float) -> Tensor:
    """∫ density from end to sign · ∞ (*B), by x = end + sign exp(π / 2 sinh u)."""
    u = _places(end.dim())
    away = torch.exp(pi / 2 * torch.sinh(u))
    x = end + sign * away
    return _total(density, x, away * (pi / 2) * torch.cosh(u) * STEP, x != end)


def whole_integral(density: Callable[[Tensor], Tensor], low: Tensor | None, high: Tensor | None, kink: Tensor) -> Tensor:
    """∫ density between two ends (*B), None an infinite one, on both sides of a place where it may not be smooth."""
    if low is not None and high is not None:
        middle = (low + high) / 2
    else:
        middle = low + 1 if low is not None else kink if high is None else high - 1
    inside = torch.ones_like(kink, dtype=torch.bool) if low is None else kink > low
    kink = torch.where(inside if high is None else inside & (kink < high), kink, middle).detach()
    left = tail(density, kink, -1.0) if low is None else integral(density, low, kink)
    return left + (tail(density, kink, 1.0) if high is None else integral(density, kink, high))
