"""Gaussian integrals by elimination: one group of jointly normal numbers after the other, in float64, by Schur complements."""

from __future__ import annotations

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative


def gram(rows: Tensor) -> Tensor:
    """Σ r rᵀ (..., N, N) of rows (..., R, N)."""
    return Gram.apply(rows)  # type: ignore[return-value]


class Gram(torch.autograd.Function):
    """The gradient is one product, as the two that a product of matrices has are each other's transpose."""

    @staticmethod
    def forward(ctx, rows):
        ctx.save_for_backward(rows)
        return rows.mT @ rows

    @staticmethod
    def backward(ctx, grad):
        (rows,) = ctx.saved_tensors
        return rows @ (grad + grad.mT)


def eliminate(matrix: Tensor, prior: Tensor | None = None, *, size: int) -> tuple[Tensor, Tensor]:
    """What is left of a sum of squares after its first numbers are integrated out, and half the logarithm of a determinant.

    matrix (..., N, N): Σ r rᵀ of forms r over N - 1 numbers and 1. The first `size` numbers are standard normal besides, those
    aside that prior (..., size) has as 0, which have no law. Gives the Schur complement (..., N - size, N - size), and
    ½ log |A| (...) of their precision A, in units of 2π for numbers without a law. nan where A is not positive definite."""
    return Eliminated.apply(matrix, prior, size)  # type: ignore[return-value]


def with_prior(matrix: Tensor, prior: Tensor | None, size: int) -> Tensor:
    """The precision of the first numbers."""
    known = matrix.new_ones(size) if prior is None else prior.to(matrix.dtype)
    return matrix[..., :size, :size] + known.diag_embed()


class Eliminated(torch.autograd.Function):
    """The gradient is that of moments: A⁻¹ and the means A⁻¹ b for what is left."""

    @staticmethod
    def forward(ctx, matrix, prior, size):
        factor, failed = torch.linalg.cholesky_ex(with_prior(matrix, prior, size))
        right = torch.linalg.solve_triangular(factor, matrix[..., :size, size:], upper=False)
        rest = matrix[..., size:, size:] - right.mT @ right
        half = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        if prior is not None:
            half = half - (1 - prior).sum(-1) * 0.9189385332046727  # log(2π) / 2
        half = half.masked_fill(failed > 0, torch.nan)
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
        half = inverse_factor(factor)
        inverse = half.mT @ half
        grad[..., :size, :size] = pulled @ means.mT + inverse * (grad_half / 2)[..., None, None]
        return grad, None, None


def inverse_factor(factor: Tensor) -> Tensor:
    """L⁻¹ of lower-triangular factors L (..., D, D)."""
    unit = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor.tril(), unit, upper=False)


def moments(
    matrix: Tensor,
    prior: Tensor | None = None,
    mean: Tensor | None = None,
    covariance: Tensor | None = None,
    *,
    size: int,
) -> tuple[Tensor, Tensor]:
    """Posterior means (..., N - 1) and covariances (..., N - 1, N - 1) of all numbers that a matrix (..., N, N) of `eliminate`
    is over, from those of what is left after its first `size`: mean (..., N - size - 1), covariance likewise."""
    factor, failed = torch.linalg.cholesky_ex(with_prior(matrix, prior, size))
    half = inverse_factor(factor).masked_fill(failed[..., None, None] > 0, torch.nan)
    inverse = half.mT @ half
    solved = -inverse @ matrix[..., :size, size:]  # given what is left, the mean is linear in it
    if mean is None or covariance is None:
        return solved[..., 0], inverse
    slope, start = solved[..., :-1], solved[..., -1]
    own = start + (slope @ mean[..., None])[..., 0]
    across = slope @ covariance
    top = torch.cat([inverse + across @ slope.mT, across], -1)
    below = torch.cat([across.mT, covariance.expand(*across.shape[:-2], *covariance.shape[-2:])], -1)
    return torch.cat([own, mean.expand(*own.shape[:-1], -1)], -1), torch.cat([top, below], -2)
