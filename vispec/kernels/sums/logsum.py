"""Sums of probabilities in log space, with exact gradients where some or all of them are zero."""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative


class LogSumExp(torch.autograd.Function):
    """log Σ exp(x) over the last dimension, and the responsibilities, which are its gradient; they have one of their own.

    Weights below 1e-34 of the largest count as zero: they cannot change the sum, and torch's exp is slow there.
    """

    @staticmethod
    def forward(ctx, x):
        top = x.amax(-1, keepdim=True)
        top.clamp_(min=torch.finfo(top.dtype).min)  # where all are -inf, so is their difference from it
        r = torch.threshold_((x - top).clamp_(min=-80.0).exp_(), 2e-35, 0.0)
        mass = r.sum(-1, keepdim=True)  # at least 1, or 0 where everything is impossible
        ctx.save_for_backward(r.div_(mass.clamp(min=1.0)))
        ctx.set_materialize_grads(False)
        return mass.log_().add_(top).squeeze(-1), r

    @staticmethod
    def backward(ctx, grad, by_r):
        (r,) = ctx.saved_tensors
        first = None if grad is None else r * grad.unsqueeze(-1)
        if by_r is None:
            return first
        second = r * (by_r - (r * by_r).sum(-1, keepdim=True))
        return second if first is None else first + second


def log_sum_exp(x: Tensor) -> Tensor:
    """log Σ exp(x) over the last dimension (*B, K) → (*B); -inf, with gradient 0, where every term is."""
    return LogSumExp.apply(x)[0]


def impossible_alone(log_prob: Tensor) -> Tensor:
    """The same; where it is -inf, it has no gradient for anything that it was added up from."""
    return log_prob.masked_fill(log_prob == -torch.inf, -torch.inf)


class GradientAlone(torch.autograd.Function):
    """0, with the gradient of the argument: a term of an estimate's gradient, of which no value is the integral."""

    @staticmethod
    def forward(ctx, x):
        return torch.zeros_like(x)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        return grad


def gradient_alone(x: Tensor) -> Tensor:
    """0 everywhere; its gradient goes to x, once."""
    return GradientAlone.apply(x)


def expected_under(log_q: Tensor, log_joint: Tensor) -> Tensor:
    """Σ_k q_k (log_joint_k − log q_k) over the last dimension; what q excludes counts nothing, whatever its log_joint."""
    log_q, log_joint = torch.broadcast_tensors(log_q, log_joint)
    excluded = log_q == -torch.inf
    log_q, log_joint = log_q.masked_fill(excluded, 0.0), log_joint.masked_fill(excluded, 0.0)
    return (log_q.exp().masked_fill(excluded, 0.0) * (log_joint - log_q)).sum(-1)


def weights(score: Tensor) -> Tensor:
    """exp in place, but 0 instead of numbers below the normal ones, with which CPUs are a hundred times slower."""
    least = -707.8 if score.dtype == torch.float64 else -86.8  # just above the logarithm of the smallest normal number
    return torch.threshold_(score.clamp_(min=least).exp_(), 2 * torch.finfo(score.dtype).tiny, 0)
