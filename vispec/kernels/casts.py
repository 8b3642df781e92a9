"""Casts: a value as it is, where it lies in the domain that the spec says; else nan, so that nothing goes on from it.

`said` is how the spec writes it, for the message of whoever looks why there is a nan (vispec/train/casts.py)."""

import torch
from torch import Tensor


def surely_unit(value: Tensor, said: str) -> Tensor:
    """The value, from 0 to 1."""
    return value.where((value >= 0) & (value <= 1), torch.nan)


def surely_positive(value: Tensor, said: str) -> Tensor:
    """The value, above 0."""
    return value.where(value > 0, torch.nan)


def surely_count(value: Tensor, said: str) -> Tensor:
    """The value, one of 0, 1, 2, ..."""
    return value.where((value >= 0) & (value == value.round()), torch.nan)


def surely_simplex(value: Tensor, said: str) -> Tensor:
    """The vectors (*B, K), whose entries are never negative and sum to 1 but for rounding."""
    inside = (value >= 0).all(-1, keepdim=True) & ((value.sum(-1, keepdim=True) - 1).abs() < 1e-4)
    return value.where(inside, torch.nan)
