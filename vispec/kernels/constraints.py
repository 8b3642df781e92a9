"""From unconstrained numbers to ordered vectors and Cholesky factors, and back."""

import torch
from torch import Tensor
from torch.nn import functional as F


def softplus_inverse(y: Tensor) -> Tensor:
    """x with softplus(x) = y > 0."""
    return y + torch.log(-torch.expm1(-y))


def in_domain(raw: Tensor, again: Tensor, value: Tensor) -> Tensor:
    """The raw numbers of a value, of which the constraint makes `again`: an error where that is another value."""
    if not torch.allclose(again, value, rtol=1e-4, atol=1e-6):
        raise ValueError(f"the parameter cannot be {value.tolist()}: {again.tolist()} is what its domain makes of it")
    return raw


def to_cholesky(raw: Tensor) -> Tensor:
    """Lower-triangular (*B, D, D) with a positive diagonal: softplus of the raw one."""
    return raw.tril(-1) + F.softplus(raw.diagonal(dim1=-2, dim2=-1)).diag_embed()


def from_cholesky(factor: Tensor) -> Tensor:
    """The raw matrix of a Cholesky factor."""
    return factor.tril(-1) + softplus_inverse(factor.diagonal(dim1=-2, dim2=-1)).diag_embed()


def to_ordered(raw: Tensor) -> Tensor:
    """An increasing vector (*B, K): the first entry, then softplus steps."""
    return torch.cat([raw[..., :1], F.softplus(raw[..., 1:])], -1).cumsum(-1)


def from_ordered(value: Tensor) -> Tensor:
    """The raw vector of an increasing one."""
    return torch.cat([value[..., :1], softplus_inverse(value.diff(dim=-1))], -1)
