"""HalfNormal(scale) on the positive reals: the absolute value of a Normal(0, scale)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def half_normal_log_prob(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 N(value; 0, scale²), elementwise; -inf below 0."""
    density = -0.5 * (value / scale).square() - scale.log() - 0.22579135264472744  # log(π / 2) / 2
    return torch.where(value >= 0, density, -torch.inf)


def half_normal_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Root of the mean square of elements (N, *event)."""
    scale = value.square().mean(0).sqrt()
    return (scale.masked_fill(scale == 0, torch.nan),)


ENTRY = Distribution(
    name="HalfNormal",
    params={"scale": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="HalfNormal",
    kernel=half_normal_log_prob,
    start=half_normal_start,
    examples=({"scale": 2.0},),
)
