"""The distribution function of Beta(a, b), from far in one tail to far in the other.

Over log-odds the logarithm of its density is concave, with its mode at a / (a + b). The tail beyond it that x is in is a sum by
`quadrature`, the other is 1 less that. The first terms of the series in x go before (DLMF 8.17.20), and the rest is the tail of
a larger a, whose logarithm bends no faster than it falls, as it would for an a near 0."""

import torch
from torch import Tensor

from vispec.kernels.probability import log_1_minus_exp
from vispec.kernels.tails.quadrature import gauss_legendre, newton_length
from vispec.kernels.tails.slopes import WithSlopes
from vispec.kernels.tails.stirling import log_ratio, stirling_rest

TERMS = 16


def beta_drop(a: Tensor, b: Tensor, x: Tensor, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """By how much the log-density of log-odds is lower s below those of x = 1 - y, and -log of how much larger 1 - x is there:
    a s + (a + b) l with l = log(1 - x (1 - e^-s)), in that form or as -b s + (a + b) log(1 + y (e^s - 1))."""
    near = x < 0.5
    inner = torch.log1p(torch.where(near, x, 0.0) * torch.expm1(-s))
    outer = torch.log1p(torch.where(near, 0.0, y) * torch.expm1(torch.where(near, 0.0, s)))
    return torch.where(near, a * s + (a + b) * inner, (a + b) * outer - b * s), torch.where(near, inner, outer - s)


def beta_below(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For x = 1 - y ≤ a / (a + b): S (*B) and its derivatives by a and b, where P(X ≤ x) = S x^a y^b / (a B(a, b))."""
    term, total = torch.ones_like(a), torch.zeros_like(a)
    log_by_b = torch.zeros_like(a)  # derivatives of log term, and of total
    log_by_a, by_a, by_b = torch.zeros_like(a), torch.zeros_like(a), torch.zeros_like(a)
    for k in range(1, TERMS + 1):
        total, by_a, by_b = total + term, by_a + term * log_by_a, by_b + term * log_by_b
        more = a + b + k - 1
        term, log_by_a, log_by_b = term * x * more / (a + k), log_by_a + 1 / more - 1 / (a + k), log_by_b + 1 / more
    up = a + TERMS

    def drop(s):
        share = x * torch.exp(-s) / (y + x * torch.exp(-s))
        return beta_drop(up, b, x, y, s)[0], up - (up + b) * share

    length = newton_length(drop, 45 / up)
    nodes, weights = gauss_legendre(a.device)
    s = length[..., None] * nodes
    dropped, smaller = beta_drop(up[..., None], b[..., None], x[..., None], y[..., None], s)
    mass = weights * torch.exp(-dropped)
    rest = length * mass.sum(-1)
    rest_by_a, rest_by_b = -length * (mass * (s + smaller)).sum(-1), -length * (mass * smaller).sum(-1)
    total = total + term * up * rest
    by_a = by_a + term * (log_by_a * up * rest + rest + up * rest_by_a)
    return total, by_a, by_b + term * up * (log_by_b * rest + rest_by_b)


def beta_tails(a: Tensor, b: Tensor, log_x: Tensor, log_y: Tensor) -> tuple[Tensor, Tensor]:
    """log P(X ≤ x) and log P(X > x) of X ~ Beta(a, b), elementwise in float64 for a, b > 0 and x = 1 - y in (0, 1), whose
    logarithms are given."""
    a, b, log_x, log_y = torch.broadcast_tensors(a, b, log_x, log_y)
    with torch.no_grad():
        x, y, n = log_x.exp(), log_y.exp(), a + b
        below = x * b < y * a
        first, second = torch.where(below, a, b), torch.where(below, b, a)
        total, by_first, by_second = beta_below(first, second, torch.where(below, x, y), torch.where(below, y, x))
        total, by_first, by_second = total / first, by_first / total - 1 / first, by_second / total
        log_mode = a * log_ratio(x, a / n, log_x) + b * log_ratio(y, b / n, log_y) + 0.5 * (a / n * b / 6.283185307179586).log()
        found = log_mode + stirling_rest(n) - stirling_rest(a) - stirling_rest(b) + total.log()
        by_a = log_x - torch.digamma(a) + torch.digamma(n) + torch.where(below, by_first, by_second)
        by_b = log_y - torch.digamma(b) + torch.digamma(n) + torch.where(below, by_second, by_first)
        by_odds = torch.where(below, 1.0, -1.0) / total
    small = WithSlopes.apply(found, by_a, by_b, by_odds, -by_odds, a, b, log_x, log_y)
    other = log_1_minus_exp(-small)
    return torch.where(below, small, other), torch.where(below, other, small)
