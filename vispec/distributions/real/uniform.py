"""Uniform(low, high) on an interval of the real line, or Uniform() over all values of a finite type."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def uniform_log_prob(value: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """-log(high - low) on [low, high], elementwise; -inf elsewhere."""
    inside = (value >= low) & (value <= high)
    return torch.where(inside, -(high - low).log(), -torch.inf)


def uniform_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An interval that holds the elements (N, *event) and, but for a chance of exp(-10), those not among these; nan where all
    are equal."""
    low, high = value.amin(0), value.amax(0)
    width = (high - low).masked_fill(high == low, torch.nan)
    return low - width * (10 / len(value)), high + width * (10 / len(value))


ENTRY = Distribution(
    name="Uniform",
    params={"low": "real", "high": "real"},
    optional=("low", "high"),
    support="real",
    everywhere=False,
    bounds=("low", "high"),
    inside=("positive", "unit"),
    other_supports=("index", "bit", "tree"),
    has_rsample=True,
    torch_class="Uniform",
    kernel=uniform_log_prob,
    start=uniform_start,
    examples=({"low": -1.0, "high": 2.5},),
)
