"""Poisson(rate) on the counts."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def poisson_log_prob(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """value · log rate - rate - log value!, elementwise; -inf below 0, and above 0 where the rate is 0."""
    possible = (value == 0) | ((value > 0) & (rate > 0))
    log_rate = torch.where(possible & (value > 0), rate, 1.0).log()  # a rate of 0 has a gradient at value 0 too
    count = value.clamp(min=0)
    return torch.where(possible, count * log_rate - rate - torch.lgamma(count + 1), -torch.inf)


def poisson_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Mean of elements (N, *event), with half a count more in all."""
    return ((value.sum(0) + 0.5) / len(value),)


ENTRY = Distribution(
    name="Poisson",
    params={"rate": "positive"},
    support="count",
    torch_class="Poisson",
    kernel=poisson_log_prob,
    start=poisson_start,
    examples=({"rate": 0.3}, {"rate": 7.5}),
)
