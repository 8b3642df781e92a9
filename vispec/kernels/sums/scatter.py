"""Sums by index."""

import torch
from torch import Tensor


def add_by_index(value: Tensor, index: Tensor, size: int, rest: int = 0) -> Tensor:
    """Σ of value (*B, N, *R) over the elements that point at each of `size` places, by index (*B, N): (*B, size, *R), of which
    R are `rest` axes. What either lacks of B is the same for all."""
    value, places = torch.broadcast_tensors(value, index.view(*index.shape, *[1] * rest))
    lead = value.dim() - rest - 1
    return value.new_zeros(*value.shape[:lead], size, *value.shape[lead + 1 :]).scatter_add(lead, places, value)


def add_by_indices(value: Tensor, index: Tensor, index_too: Tensor, size: int, size_too: int, rest: int = 0) -> Tensor:
    """Σ of value (*B, N, *R) over the elements that point at each of `size` x `size_too` places, by two indices (*B, N):
    (*B, size, size_too, *R), of which R are `rest` axes."""
    added = add_by_index(value, index * size_too + index_too, size * size_too, rest)
    return added.unflatten(added.dim() - rest - 1, (size, size_too))
