"""Dirichlet(concentration) on the simplex; a scalar concentration stands for a symmetric one."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def dirichlet_log_prob(value: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log Dirichlet(value; concentration) (*B) for value (*B, K) and concentration (*B, K) or ()."""
    concentration = concentration.expand(*concentration.shape[:-1], value.shape[-1]).double()
    log_norm = torch.lgamma(concentration).sum(-1) - torch.lgamma(concentration.sum(-1))
    return (torch.xlogy(concentration - 1, value.double()).sum(-1) - log_norm).to(value.dtype)


def dirichlet_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """From means m (K) and variances m (1 - m) / (c + 1) of elements (N, K), c the sum of the concentrations; the share of the
    variance in m (1 - m) is drawn towards 1 / 2 by 1 / N², so that few equal elements tell little."""
    n, mean = len(value) ** 2, value.mean(0)
    share = (n * value.var(0, correction=0).sum() / (mean * (1 - mean)).sum() + 0.5) / (n + 1)
    return (mean * (1 / share - 1),)


ENTRY = Distribution(
    name="Dirichlet",
    params={"concentration": "positive"},
    support="simplex",
    everywhere=False,
    event_dim=1,
    has_rsample=True,
    once=True,
    torch_class="Dirichlet",
    kernel=dirichlet_log_prob,
    start=dirichlet_start,
    examples=({"concentration": [2.0, 1.5, 3.0]}, {"concentration": [1.0, 1.0]}),
)
