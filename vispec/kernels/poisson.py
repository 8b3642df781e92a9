"""The Poisson law for real x and m in float64, of which the laws of counts and of concentrations are made (Loader 2000).

    log Poisson(x; m) = x log m - m - log Γ(x + 1) = -(x log(x / m) + m - x) - remainder(x)

As it stands, it is a small difference of large terms. The deviance in brackets loses nothing where x is close to m, and what
Stirling's formula leaves is small. With n p + n q = n, for instance,

    log Binomial(k; n, p) = log Poisson(k; n p) + log Poisson(n - k; n q) + remainder(n).
"""

import torch
from torch import Tensor

NEARLY_ALL = -0.9999999999999999  # a relative loss of it is finite in log space, and 0 times that is 0


def remainder(x: Tensor) -> Tensor:
    """log Γ(x + 1) - x log x + x for x ≥ 0, 0 at 0, to 1e-14: Stirling's series eight steps up, at y = x + 9.

    Γ(y) = Γ(x + 1) (x + 1) ... (x + 8), and (x + i) (x + 9 - i) = x y + i (9 - i)."""
    y = x + 9
    u, once = x * y, y.reciprocal()
    steps = (u + 8).mul_(u + 14).mul_(u + 18).mul_(u + 20)
    share = y.square().square_().square_().div_(steps)  # y^8 / steps, which is near 1
    z = once * once
    series = z * (-691 / 360360)  # B_2k / (2k (2k - 1)) y^(1 - 2k), k from 6 down
    for coefficient in (1 / 1188, -1 / 1680, 1 / 1260, -1 / 360):
        series.add_(coefficient).mul_(z)
    series.add_(1 / 12).mul_(once).sub_(8.0810614667953272)  # 9 - log(2π) / 2
    gap = once.mul_(-9).clamp_(min=NEARLY_ALL).log1p_().mul_(x)  # x log(x / y)
    return share.square_().mul_(y).log_().mul_(0.5).add_(series).sub_(gap).clamp_(min=0)


class StirlingRemainder(torch.autograd.Function):
    """What Stirling's formula x log x - x leaves of log Γ(x + 1), for x ≥ 0 in float64."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return remainder(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (torch.digamma(x + 1) - x.log())


class LogPoisson(torch.autograd.Function):
    """x log m - m - log Γ(x + 1) for x ≥ 0 and m ≥ 0 in float64, broadcast: 0 at x = m = 0, and -inf where m alone is 0, with a
    finite gradient for m, so that 0 times it is 0."""

    @staticmethod
    def forward(ctx, x, m):
        ctx.save_for_backward(x, m)
        excess = x - m
        relative = torch.fmax(excess / m, excess.new_tensor(NEARLY_ALL))  # at x = m = 0 too
        return relative.log1p_().mul_(x).sub_(excess).add_(remainder(x)).neg_()

    @staticmethod
    def backward(ctx, grad):
        x, m = ctx.saved_tensors
        none, by_x, by_m = m == 0, None, None
        if ctx.needs_input_grad[0]:
            by_x = (grad * (m.masked_fill(none, 1.0).log() - torch.digamma(x + 1))).sum_to_size(x.shape)
        if ctx.needs_input_grad[1]:
            by_m = (grad * (x / m.masked_fill(none, torch.inf) - 1)).sum_to_size(m.shape)
        return by_x, by_m


def stirling_remainder(x: Tensor) -> Tensor:
    """log Γ(x + 1) - x log x + x elementwise, x ≥ 0 in float64."""
    return StirlingRemainder.apply(x)


def log_poisson(x: Tensor, m: Tensor) -> Tensor:
    """log Poisson(x; m) elementwise, x ≥ 0 and m ≥ 0 in float64."""
    return LogPoisson.apply(x, m)
