"""HalfCauchy(scale) on the positive reals: the absolute value of a Cauchy(0, scale)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def half_cauchy_log_prob(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 / π - log scale - log(1 + (value / scale)²), elementwise; -inf below 0."""
    density = -0.45158270528945486 - scale.log() - torch.log1p((value / scale).square())  # log(2 / π)
    return torch.where(value >= 0, density, -torch.inf)


def half_cauchy_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Median of elements (N, *event), which is that of the law at its scale."""
    scale = value.median(0).values
    return (scale.masked_fill(scale == 0, torch.nan),)


ENTRY = Distribution(
    name="HalfCauchy",
    params={"scale": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="HalfCauchy",
    kernel=half_cauchy_log_prob,
    start=half_cauchy_start,
    examples=({"scale": 2.0},),
)
