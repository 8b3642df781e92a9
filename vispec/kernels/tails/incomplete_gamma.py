"""The distribution function of Gamma(a, 1), from far in one tail to far in the other.

Over log t the logarithm of its density, a log t - t, is concave; its mode is at t = a. The tail beyond it that x is in is a sum
by `quadrature`, the other is 1 less that. On the left the first terms of the series in x go before, and the rest is the tail of
a larger a, whose logarithm bends no faster than it falls, as it would for an a near 0."""

import torch
from torch import Tensor

from vispec.kernels.probability import log_1_minus_exp
from vispec.kernels.tails.quadrature import gauss_legendre, newton_length
from vispec.kernels.tails.slopes import WithSlopes
from vispec.kernels.tails.stirling import log_ratio, stirling_rest

TERMS = 16


def gamma_below(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """For x ≤ a: S (*B) and its derivative by a, where P(X ≤ x) = S x^a e^-x / Γ(a + 1)."""
    term, total = torch.ones_like(a), torch.zeros_like(a)
    log_slope, slope = torch.zeros_like(a), torch.zeros_like(a)  # by a: of log term, of total
    for k in range(1, TERMS + 1):
        total, slope = total + term, slope + term * log_slope
        term, log_slope = term * x / (a + k), log_slope - 1 / (a + k)
    up = a + TERMS

    def drop(s):
        return x * torch.expm1(-s) + up * s, up - x * torch.exp(-s)

    length = newton_length(drop, 45 / up)
    nodes, weights = gauss_legendre(a.device)
    s = length[..., None] * nodes
    mass = weights * torch.exp(-(x[..., None] * torch.expm1(-s) + up[..., None] * s))
    rest, moment = length * mass.sum(-1), length * (mass * s).sum(-1)
    total = total + term * up * rest
    return total, slope + term * (log_slope * up * rest + rest - up * moment)


def gamma_above(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """For x ≥ a: S (*B) and its derivative by a, where P(X > x) = S x^a e^-x / Γ(a)."""

    def drop(s):
        return x * torch.expm1(s) - a * s, x * torch.exp(s) - a

    start = torch.minimum((90 / x).sqrt(), torch.log1p(90 / x).clamp(min=1.3))  # D is above 45 there
    length = newton_length(drop, start)
    nodes, weights = gauss_legendre(a.device)
    s = length[..., None] * nodes
    mass = weights * torch.exp(a[..., None] * s - x[..., None] * torch.expm1(s))
    return length * mass.sum(-1), length * (mass * s).sum(-1)


def gamma_tails(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """log P(X ≤ x) and log P(X > x) of X ~ Gamma(a, 1), elementwise for a, x > 0 in float64."""
    a, x = torch.broadcast_tensors(a, x)
    with torch.no_grad():
        below = x < a
        log_x = x.log()
        log_mode = a * (log_ratio(x, a, log_x)) - (x - a) + 0.5 * (a / 6.283185307179586).log() - stirling_rest(a)  # 2π
        left, left_slope = gamma_below(torch.where(below, a, 1.0), torch.where(below, x, 0.5))
        right, right_slope = gamma_above(torch.where(below, 0.5, a), torch.where(below, 1.0, x))
        total, slope = torch.where(below, left / a, right), torch.where(below, left_slope / left - 1 / a, right_slope / right)
        found = log_mode + total.log()
        by_a = log_x - torch.digamma(a) + slope
        by_x = torch.where(below, 1.0, -1.0) / (x * total)
    small = WithSlopes.apply(found, by_a, by_x, a, x)
    other = log_1_minus_exp(-small)
    return torch.where(below, small, other), torch.where(below, other, small)
