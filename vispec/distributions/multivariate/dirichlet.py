"""Dirichlet(concentration) on the simplex; a scalar concentration stands for a symmetric one."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def dirichlet_log_prob(value: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log Dirichlet(value; concentration) (*B) for value (*B, K) and concentration (*B, K) or ()."""
    concentration = concentration.expand(*concentration.shape[:-1], value.shape[-1]).double()
    log_norm = torch.lgamma(concentration).sum(-1) - torch.lgamma(concentration.sum(-1))
    return (torch.xlogy(concentration - 1, value.double()).sum(-1) - log_norm).to(value.dtype)


ENTRY = Distribution(
    name="Dirichlet",
    params={"concentration": "positive"},
    support="simplex",
    everywhere=False,
    event_dim=1,
    has_rsample=True,
    torch_class="Dirichlet",
    kernel=dirichlet_log_prob,
    examples=({"concentration": [2.0, 1.5, 3.0]}, {"concentration": [1.0, 1.0]}),
)
