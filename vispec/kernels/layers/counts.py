"""How often each value of a vocabulary occurs in a sequence."""

import torch
from torch import Tensor


def count_values(index: Tensor, size: int, mask: Tensor | None, like: Tensor) -> Tensor:
    """How often each of `size` values is among the index (*B, T) that count: (*B, size), of like's dtype."""
    weight = like.new_ones(index.shape) if mask is None else mask.to(like.dtype)
    if index.shape != weight.shape:
        index, weight = torch.broadcast_tensors(index, weight)
    return weight.new_zeros(*index.shape[:-1], size).scatter_add_(-1, index, weight)


def few_values(index: Tensor, size: int) -> bool:
    """Whether a product of matrices with the counts of index (*B, T) is worth their zeros."""
    return size < 32 * index.shape[-1]


def shared_counts(index: Tensor, size: int, mask: Tensor | None, like: Tensor) -> Tensor | None:
    """`count_values` for all that reads them, None where each does better without."""
    return count_values(index, size, mask, like) if few_values(index, size) else None
