"""Pareto(scale, alpha) on the reals from `scale` up."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def pareto_log_prob(value: torch.Tensor, scale: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """log alpha - alpha log(value / scale) - log value, elementwise; -inf below scale."""
    inside = value >= scale
    above, scale, alpha = torch.where(inside, value, scale).double(), scale.double(), alpha.double()
    density = (alpha / above).log() - alpha * (above / scale).log()
    return density.to(value.dtype).masked_fill(~inside, -torch.inf)


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
