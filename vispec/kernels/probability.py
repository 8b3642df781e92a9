"""Logarithms of probabilities that may be exactly zero."""

import torch
from torch import Tensor


class LogOfProbability(torch.autograd.Function):
    """log p, -inf at 0, where its gradient is 0: what is impossible has no weight in any posterior, and 0 · ∞ would be nan."""

    @staticmethod
    def forward(ctx, p):
        ctx.save_for_backward(p)
        return p.log()

    @staticmethod
    def backward(ctx, grad):
        (p,) = ctx.saved_tensors
        return grad / p.masked_fill(p == 0, torch.inf)


def log_of(p: Tensor) -> Tensor:
    """log p elementwise for p ≥ 0."""
    return LogOfProbability.apply(p)


class LogOfRest(torch.autograd.Function):
    """log(1 - p), -inf at 1, where its gradient is 0, as at `LogOfProbability`."""

    @staticmethod
    def forward(ctx, p):
        ctx.save_for_backward(p)
        return torch.log1p(-p)

    @staticmethod
    def backward(ctx, grad):
        (p,) = ctx.saved_tensors
        return grad / (p - 1).masked_fill(p == 1, torch.inf)


def log_of_rest(p: Tensor) -> Tensor:
    """log(1 - p) elementwise for p ≤ 1."""
    return LogOfRest.apply(p)


def log_1_minus_exp(x: Tensor) -> Tensor:
    """log (1 - exp(-x)) for x > 0, without a loss of digits at either end (Mächler 2012)."""
    near = x < 0.6931471805599453  # log 2
    return torch.where(
        near, torch.log(-torch.expm1(-torch.where(near, x, 1.0))), torch.log1p(-torch.exp(-torch.where(near, 1.0, x)))
    )


def log_1_minus_exp_of(log_x: Tensor) -> Tensor:
    """log (1 - exp(-x)) of log x, for x however near 0 or far away."""
    small, large = log_x < -37, log_x > 6.7  # log x, and 0, to the last digit
    middle = log_1_minus_exp(torch.exp(torch.where(small | large, 0.0, log_x)))
    return torch.where(small, log_x, torch.where(large, 0.0, middle))


def bit_log_prob(value: Tensor, p: Tensor) -> Tensor:
    """log P(value) of a bit that is 1 with probability p, elementwise; certain at p = 0 and p = 1."""
    return LogOfProbability.apply(torch.where(value > 0, p, 1 - p))


def ordinal_log_probs(place: Tensor, cuts: Tensor) -> Tensor:
    """place (*B), increasing cuts (*B, K - 1) → (*B, K): log P(cut below < place + noise < cut above) of logistic noise.

    The lowest cut is -∞ and the highest ∞ (McCullagh 1980, the proportional odds model).

    σ(u) - σ(l) = σ(u) σ(-l) (1 - exp(l - u)) loses nothing where both are near 0 or near 1.
    """
    gap = cuts - place.unsqueeze(-1)
    width = torch.diff(cuts, dim=-1)
    above, below = torch.nn.functional.logsigmoid(gap), torch.nn.functional.logsigmoid(-gap)
    inner = above[..., 1:] + below[..., :-1] + torch.log(-torch.expm1(-width))
    return torch.cat([above[..., :1], inner, below[..., -1:]], -1)
