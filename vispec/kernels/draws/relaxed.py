"""Bits and categories relaxed to continuous values (Maddison et al. 2017; Jang et al. 2017), for a gradient that is biased but
of low variance. Outside training, and forward where straight_through, they are exact draws.
"""

import torch
from torch import Tensor

from vispec.kernels.sums.logsum import gradient_alone


def relaxed_bit(logit: Tensor, temperature: float, straight_through: bool, training: bool) -> Tensor:
    """Draws in (0, 1), or {0, 1}, of bits with these log-odds, of their shape."""
    soft = torch.sigmoid((logit + torch.rand_like(logit).logit()) / temperature)
    if training and not straight_through:
        return soft
    return (soft > 0.5).to(soft.dtype) + gradient_alone(soft)


def relaxed_one_hot(logits: Tensor, temperature: float, straight_through: bool, training: bool) -> Tensor:
    """Draws on the simplex, or one-hot, of categories with these logits (*B, K): (*B, K)."""
    gumbel = -torch.empty_like(logits).exponential_().log()
    soft = ((logits + gumbel) / temperature).softmax(-1)
    if training and not straight_through:
        return soft
    hard = torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
    return hard + gradient_alone(soft)


def mixed(weight: Tensor, table: Tensor) -> Tensor:
    """Σ_k weight_k table_k: weights (*B, K) on the rows of a table (K, *E) → (*B, *E)."""
    return torch.tensordot(weight, table, 1)
