"""Cauchy(loc, scale) on the real line; it has no mean."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def cauchy_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median of elements (N, *event) and half the distance of their quartiles; where all are equal, the scale is nan."""
    n = len(value)
    low, loc, high = value.sort(0).values[[n // 4, n // 2, 3 * n // 4]]
    scale = torch.where(high > low, (high - low) / 2, (value - value[:1]).std(0, correction=0))
    return loc, scale.masked_fill(scale == 0, torch.nan)


ENTRY = Distribution(
    name="Cauchy",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Cauchy",
    start=cauchy_start,
    examples=({"loc": 0.5, "scale": 2.0},),
)
