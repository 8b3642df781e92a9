"""Sums over latents under other algebras: their gradients are the answers to posterior queries.

`total(x)` sums exp(x) over the last dimension in log space. Backward, log_sum_exp spreads a gradient by posterior
probability (marginals), `maximum` sends it to the best term (the mode), `sampled` to a drawn term (a sample).
"""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative


class Maximum(torch.autograd.Function):
    """max over the last dimension; the gradient goes to the first of the best."""

    @staticmethod
    def forward(ctx, x):
        best, at = x.max(-1, keepdim=True)
        ctx.save_for_backward(at)
        ctx.size = x.shape[-1]
        return best.squeeze(-1)

    @staticmethod
    def backward(ctx, grad):
        (at,) = ctx.saved_tensors
        return grad.new_zeros(*at.shape[:-1], ctx.size).scatter_(-1, at, grad.unsqueeze(-1))


class Sampled(torch.autograd.Function):
    """log Σ exp over the last dimension; the gradient goes to one term, drawn with its probability."""

    @staticmethod
    def forward(ctx, x):
        noise = torch.empty_like(x).exponential_().log_()
        ctx.save_for_backward((x - noise).argmax(-1, keepdim=True))
        ctx.size = x.shape[-1]
        return torch.logsumexp(x, -1)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        (at,) = ctx.saved_tensors
        return grad.new_zeros(*at.shape[:-1], ctx.size).scatter_(-1, at, grad.unsqueeze(-1))


def maximum(x: Tensor) -> Tensor:
    """max over the last dimension (*B, K) → (*B)."""
    return Maximum.apply(x)


def sampled(x: Tensor) -> Tensor:
    """log Σ exp(x) over the last dimension (*B, K) → (*B), with a draw for a gradient."""
    return Sampled.apply(x)


def chain_total(total, log_init: Tensor, log_step: Tensor, log_seen: Tensor, length: Tensor | None = None) -> Tensor:
    """A chain's sum (*B) under an algebra: log_init (*B, K); log_step (K, K) or (*B, T-1 or 1, K, K); log_seen (*B, T, K)."""
    if hasattr(total, "paths"):
        return total.paths(log_init, log_step, log_seen, length)
    steps = log_seen.shape[-2]
    log_step = log_step.transpose(-1, -2)  # to × from, so that sums are over the last dimension
    alpha = log_init + log_seen[..., 0, :]
    for t in range(1, steps):
        move = log_step if log_step.dim() == 2 else log_step[..., min(t, log_step.shape[-3]) - 1, :, :]
        after = total(alpha.unsqueeze(-2) + move) + log_seen[..., t, :]
        alpha = after if length is None else torch.where((t < length).unsqueeze(-1), after, alpha)
    return total(alpha) if length is None else total(alpha).masked_fill(length == 0, 0.0)
