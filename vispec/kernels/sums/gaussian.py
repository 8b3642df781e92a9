"""Gaussian integrals by elimination: one group of jointly normal numbers after the other, in float64, by Schur complements."""

from __future__ import annotations

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative


def eliminate(matrix: Tensor, size: int, free: int = 0) -> tuple[Tensor, Tensor]:
    """What is left of a sum of squares after its first numbers are integrated out, and half the logarithm of a determinant.

    matrix (..., N, N): Σ r rᵀ of forms r over N - 1 numbers and 1. The first `size` numbers are standard normal besides, the
    last `free` of these aside. Gives the Schur complement (..., N - size, N - size), and ½ log |A| (...) of their precision A."""
    return Eliminated.apply(matrix, size, free)  # type: ignore[return-value]


class Eliminated(torch.autograd.Function):
    """The gradient is that of moments: A⁻¹ and the means A⁻¹ b for what is left."""

    @staticmethod
    def forward(ctx, matrix, size, free):
        prior = torch.ones(size, dtype=matrix.dtype, device=matrix.device)
        prior[size - free :] = 0
        own = matrix[..., :size, :size] + prior.diag()
        factor, failed = torch.linalg.cholesky_ex(own)
        right = torch.linalg.solve_triangular(factor, matrix[..., :size, size:], upper=False)
        rest = matrix[..., size:, size:] - right.mT @ right
        half = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        half = half.masked_fill(failed > 0, torch.nan)  # not positive definite: no value
        ctx.save_for_backward(factor, right)
        return rest, half

    @staticmethod
    @first_derivative
    def backward(ctx, grad_rest, grad_half):
        factor, right = ctx.saved_tensors
        size = factor.shape[-1]
        means = torch.linalg.solve_triangular(factor.mT, right, upper=True)  # (..., size, N - size)
        grad_rest = (grad_rest + grad_rest.mT) / 2
        grad = grad_rest.new_zeros(*factor.shape[:-2], size + right.shape[-1], size + right.shape[-1])
        grad[..., size:, size:] = grad_rest
        pulled = means @ grad_rest
        grad[..., :size, size:] = -pulled
        grad[..., size:, :size] = -pulled.mT
        inverse = torch.cholesky_inverse(factor)
        grad[..., :size, :size] = pulled @ means.mT + inverse * (grad_half / 2)[..., None, None]
        return grad, None, None


def inverse_factor(factor: Tensor) -> Tensor:
    """L⁻¹ of lower-triangular factors L (..., D, D)."""
    unit = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor.tril(), unit, upper=False)


def moments(
    matrix: Tensor, size: int, free: int = 0, mean: Tensor | None = None, covariance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Posterior means (..., N - 1) and covariances (..., N - 1, N - 1) of all numbers that a matrix (..., N, N) of `eliminate`
    is over, from those of what is left after its first `size`: mean (..., N - size - 1), covariance likewise."""
    prior = torch.ones(size, dtype=matrix.dtype, device=matrix.device)
    prior[size - free :] = 0
    factor, failed = torch.linalg.cholesky_ex(matrix[..., :size, :size] + prior.diag())
    inverse = torch.cholesky_inverse(factor).masked_fill(failed[..., None, None] > 0, torch.nan)
    solved = -inverse @ matrix[..., :size, size:]  # given what is left, the mean is linear in it
    if mean is None or covariance is None:
        return solved[..., 0], inverse
    slope, start = solved[..., :-1], solved[..., -1]
    own = start + (slope @ mean[..., None])[..., 0]
    across = slope @ covariance
    top = torch.cat([inverse + across @ slope.mT, across], -1)
    below = torch.cat([across.mT, covariance.expand(*across.shape[:-2], *covariance.shape[-2:])], -1)
    return torch.cat([own, mean.expand(*own.shape[:-1], -1)], -1), torch.cat([top, below], -2)
