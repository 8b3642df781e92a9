"""Gumbel(loc, scale) on the real line: the law of a maximum."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def gumbel_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From mean loc + 0.577 scale (Euler's constant) and deviation π scale / √6 of elements (N, *event); a deviation of 0 tells
    no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0) * 0.7796968012336761  # √6 / π
    return value.mean(0) - 0.5772156649015329 * scale, scale.masked_fill(scale == 0, torch.nan)


ENTRY = Distribution(
    name="Gumbel",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Gumbel",
    start=gumbel_start,
    examples=({"loc": 0.5, "scale": 2.0},),
)
