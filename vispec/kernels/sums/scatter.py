"""Sums by index."""

from torch import Tensor


def add_by_index(value: Tensor, index: Tensor, size: int) -> Tensor:
    """Σ of value (*B, N, *R) over the elements that point at each of `size` places, by index (*B, N): (*B, size, *R)."""
    lead = index.dim() - 1
    places = index.view(*index.shape, *[1] * (value.dim() - index.dim())).expand_as(value)
    return value.new_zeros(*value.shape[:lead], size, *value.shape[lead + 1 :]).scatter_add(lead, places, value)


def add_by_indices(value: Tensor, index: Tensor, index_too: Tensor, size: int, size_too: int) -> Tensor:
    """Σ of value (*B, N, *R) over the elements that point at each of `size` x `size_too` places, by two indices (*B, N):
    (*B, size, size_too, *R)."""
    added = add_by_index(value, index * size_too + index_too, size * size_too)
    return added.unflatten(index.dim() - 1, (size, size_too))
