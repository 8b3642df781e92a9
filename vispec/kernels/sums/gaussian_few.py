"""Gaussian integrals over few numbers for each of many elements: number by number, over all elements at a time.

Of matrices as small as these a product or a factor costs as much as the call. An entry of all of them is one tensor here, and
the loops over entries are Python's."""

from __future__ import annotations

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative


def gram_of(*columns: Tensor, inside: Tensor | None = None) -> Tensor:
    """Σ r rᵀ (..., N, N) in float64 of few numbers N, each a column (..., R); inside (..., R): which elements count."""
    return GramOf.apply(None, 0, inside, *columns)  # type: ignore[return-value]


def gram_at(index: Tensor, *columns: Tensor, size: int, inside: Tensor | None = None) -> Tensor:
    """The same at each of `size` places, of the elements that point at it by index (..., R): (..., size, N, N)."""
    return GramOf.apply(index, size, inside, *columns)  # type: ignore[return-value]


class GramOf(torch.autograd.Function):
    """The gradient of a column is the sum of all columns, each times an entry."""

    @staticmethod
    def forward(ctx, index, size, inside, *columns):
        wide = [column.double() for column in columns]
        if inside is not None:
            wide = [torch.where(inside, column, 0.0) for column in wide]
            index = None if index is None else torch.where(inside, index, 0)
        ctx.likes = [(column.shape, column.dtype) for column in columns]
        ctx.save_for_backward(index, *wide)

        def summed(product: Tensor) -> Tensor:
            if index is None:
                return product.sum(-1)
            product, places = torch.broadcast_tensors(product, index)
            return product.new_zeros(*product.shape[:-1], size).scatter_add_(-1, places, product)

        return symmetric([[summed(one * other) for other in wide[: at + 1]] for at, one in enumerate(wide)])

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        index, *wide = ctx.saved_tensors
        lower = [[grad[..., i, j] + grad[..., j, i] for j in range(i + 1)] for i in range(len(wide))]
        if index is None:
            lower = [[each.unsqueeze(-1) for each in row] for row in lower]
        else:
            index = index.expand(*grad.shape[:-3], index.shape[-1])
            lower = [[taken(each, index) for each in row] for row in lower]
        found = []
        for i, (shape, dtype) in enumerate(ctx.likes):
            total = lower[i][0] * wide[0]  # has all axes, as the gradient has
            for j in range(1, len(wide)):
                total.addcmul_(lower[max(i, j)][min(i, j)], wide[j])
            found.append(total.sum_to_size(shape).to(dtype))
        return None, None, None, *found


def taken(table: Tensor, index: Tensor) -> Tensor:
    """table (..., size) at an index (..., R), as one selection: gathering takes four times as long."""
    lead = torch.arange(index.shape[:-1].numel(), device=index.device).view(*index.shape[:-1], 1)
    flat = (index + lead * table.shape[-1]).reshape(-1)
    return table.reshape(-1).index_select(0, flat).view(index.shape)


def symmetric(lower: list[list[Tensor]]) -> Tensor:
    """Matrices (..., N, N) of the entries (...) on and below their diagonals."""
    size = range(len(lower))
    entries = torch.broadcast_tensors(*(lower[max(i, j)][min(i, j)] for i in size for j in size))
    return torch.stack(entries).unflatten(0, (len(lower), -1)).movedim((0, 1), (-2, -1))


def eliminate_few(matrix: Tensor, prior: Tensor | None = None, *, size: int) -> tuple[Tensor, Tensor]:
    """What is left of a sum of squares after its first numbers are integrated out, and half the logarithm of a determinant.

    matrix (..., N, N): Σ r rᵀ of forms r over N - 1 numbers and 1. The first `size` numbers are standard normal besides, those
    aside that prior (..., size) has as 0, which have no law. Gives the Schur complement (..., N - size, N - size), and
    ½ log |A| (...) of their precision A, in units of 2π for numbers without a law. nan where A is not positive definite."""
    return EliminatedFew.apply(matrix, prior, size)  # type: ignore[return-value]


class EliminatedFew(torch.autograd.Function):
    """A = L D Lᵀ. The gradient is that of moments: A⁻¹ and the means A⁻¹ b for what is left."""

    @staticmethod
    def forward(ctx, matrix, prior, size):
        many = range(matrix.shape[-1])
        rows = [[matrix[..., i, j] for j in range(i + 1)] for i in many]
        for k in range(size):
            rows[k][k] = rows[k][k] + (1 if prior is None else prior[..., k])
        for k in range(size):
            slopes = {i: rows[i][k] / rows[k][k] for i in many[k + 1 :]}
            for i in many[k + 1 :]:
                for j in range(k + 1, i + 1):
                    rows[i][j] = torch.addcmul(rows[i][j], slopes[i], rows[j][k], value=-1)
            for i, slope in slopes.items():
                rows[i][k] = slope
        half = torch.stack([rows[k][k] for k in range(size)]).log().sum(0) / 2
        if prior is not None:
            half = half - (1 - prior).sum(-1) * 0.9189385332046727  # log(2π) / 2
        ctx.size = size
        ctx.save_for_backward(*(entry for row in rows for entry in row[:size]))
        rest = symmetric([row[size:] for row in rows[size:]])
        return rest, half.masked_fill(half == -torch.inf, torch.nan)

    @staticmethod
    @first_derivative
    def backward(ctx, grad_rest, grad_half):
        own, left, saved = range(ctx.size), range(grad_rest.shape[-1]), list(ctx.saved_tensors)
        rows = [[saved.pop(0) for _ in range(i + 1)] for i in own]
        means = [[saved.pop(0) for _ in own] for _ in left]
        grad = [[(grad_rest[..., a, b] + grad_rest[..., b, a]) / 2 for b in left] for a in left]
        inverse = [[*row] for row in rows]
        for k in reversed(own):
            later = own[k + 1 :]
            for mean in means:
                mean[k] = mean[k] - sum(rows[i][k] * mean[i] for i in later)
            for j in later:
                inverse[j][k] = -sum(rows[i][k] * inverse[max(i, j)][min(i, j)] for i in later)
            inverse[k][k] = 1 / rows[k][k] - sum(rows[i][k] * inverse[i][k] for i in later)
        pulled = [[sum(means[a][k] * grad[a][b] for a in left) for k in own] for b in left]
        half = grad_half / 2
        top = [[half * inverse[i][j] + sum(pulled[b][i] * means[b][j] for b in left) for j in range(i + 1)] for i in own]
        below = [[*(-each for each in pulled[b]), *grad[b][: b + 1]] for b in left]
        return symmetric([*top, *below]), None, None
