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


def uniform_log_cdf(value: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """log of (value - low) / (high - low), elementwise; -inf at and below low, 0 from high on."""
    inside = (value > low) & (value < high)
    share = torch.where(inside, value - low, 1.0).double() / torch.where(inside, high - low, 2.0).double()
    certain = torch.where(value >= high, 0.0, -torch.inf)
    return torch.where(inside, share.log(), certain).to(value.dtype)


def uniform_log_survival(value: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """log of (high - value) / (high - low), elementwise; 0 at and below low, -inf from high on."""
    inside = (value > low) & (value < high)
    share = torch.where(inside, high - value, 1.0).double() / torch.where(inside, high - low, 2.0).double()
    certain = torch.where(value <= low, 0.0, -torch.inf)
    return torch.where(inside, share.log(), certain).to(value.dtype)


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
    log_cdf=uniform_log_cdf,
    log_survival=uniform_log_survival,
    start=uniform_start,
    examples=({"low": -1.0, "high": 2.5},),
)
