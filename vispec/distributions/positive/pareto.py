"""Pareto(scale, alpha) on the reals from `scale` up."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def pareto_log_prob(value: torch.Tensor, scale: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """log alpha + alpha log scale - (alpha + 1) log value, elementwise; -inf below scale."""
    inside = value >= scale
    density = alpha.log() + alpha * scale.log() - (alpha + 1) * torch.where(inside, value, 1.0).log()
    return torch.where(inside, density, -torch.inf)


ENTRY = Distribution(
    name="Pareto",
    params={"scale": "positive", "alpha": "positive"},
    support="positive",
    everywhere=False,
    has_rsample=True,
    torch_class="Pareto",
    kernel=pareto_log_prob,
    examples=({"scale": 1.5, "alpha": 3.0},),
)
