"""Gaussian numbers of many elements that are independent given all others: their matrix is blocks on a diagonal."""

from __future__ import annotations

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.gaussian import inverse_factor, with_prior


def eliminate_apart(own: Tensor, cross: Tensor, prior: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What is left of a sum of squares after the numbers of A elements are integrated out, and half the logarithm of a
    determinant.

    own (..., A, q, q): Σ r rᵀ of forms r over the q numbers of each element, which are standard normal besides, those aside
    that prior (..., A, q) has as 0. cross (..., A, q, R): over these and what is left, 1 being the last of it. Gives what the
    elements add to the sum of squares over what is left, (..., R, R), and ½ log |own + 1| (...), over all of them, in units of
    2π for numbers without a law. nan where one of them is not positive definite. No (A, R, R) is ever there."""
    if own.shape[:-2] != cross.shape[:-2]:  # what is the same for all, of which the derivative is a sum
        lead = torch.broadcast_tensors(own[..., 0, 0], cross[..., 0, 0])[0].shape  # broadcast_shapes imports sympy
        own, cross = own.expand(*lead, -1, -1), cross.expand(*lead, -1, -1)
    return EliminatedApart.apply(own, cross, prior)  # type: ignore[return-value]


class EliminatedApart(torch.autograd.Function):
    """Of elements one after the other the Schur complements -crossᵀ own⁻¹ cross are one product of matrices."""

    @staticmethod
    def forward(ctx, own, cross, prior):
        factor, failed = torch.linalg.cholesky_ex(with_prior(own, prior, own.shape[-1]))
        right = torch.linalg.solve_triangular(factor, cross, upper=False)
        half = factor.diagonal(dim1=-2, dim2=-1).log().sum((-2, -1))
        if prior is not None:
            half = half - (1 - prior).sum((-2, -1)) * 0.9189385332046727  # log(2π) / 2
        half = half.masked_fill((failed > 0).any(-1), torch.nan)
        ctx.save_for_backward(factor, right)
        flat = right.flatten(-3, -2)  # (..., A q, R)
        return -(flat.mT @ flat), half

    @staticmethod
    @first_derivative
    def backward(ctx, grad_rest, grad_half):
        factor, right = ctx.saved_tensors
        means = torch.linalg.solve_triangular(factor.mT, right, upper=True)
        pulled = (means.flatten(-3, -2) @ (grad_rest + grad_rest.mT)).unflatten(-2, means.shape[-3:-1])
        half = inverse_factor(factor)
        grad_own = pulled @ means.mT / 2 + half.mT @ half * (grad_half / 2)[..., None, None, None]
        return grad_own, -pulled, None


def moments_apart(
    own: Tensor,
    cross: Tensor,
    prior: Tensor | None = None,
    mean: Tensor | None = None,
    covariance: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Posterior means (..., A, q) and covariances (..., A, q, q) of the numbers that `eliminate_apart` integrates out, and
    their covariances with what is left (..., A, q, R - 1), from its mean (..., R - 1) and covariance (..., R - 1, R - 1)."""
    factor, failed = torch.linalg.cholesky_ex(with_prior(own, prior, own.shape[-1]))
    half = inverse_factor(factor).masked_fill(failed[..., None, None] > 0, torch.nan)
    inverse = half.mT @ half
    solved = -inverse @ cross  # given what is left, the mean is linear in it
    slope, start = solved[..., :-1], solved[..., -1]
    if mean is None or covariance is None:
        return start, inverse, slope
    across = slope @ covariance.unsqueeze(-3)
    return start + (slope @ mean[..., None, :, None])[..., 0], inverse + across @ slope.mT, across
