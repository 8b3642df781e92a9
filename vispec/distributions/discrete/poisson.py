"""Poisson(rate) on the counts."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def poisson_log_prob(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """value · log rate - rate - log value!, elementwise; -inf below 0, and above 0 where the rate is 0."""
    count, rate = value.clamp(min=0).double(), rate.double()
    possible = (value == 0) | ((value > 0) & (rate > 0))
    log_rate = torch.where(possible & (value > 0), rate, 1.0).log()  # a rate of 0 has a gradient at value 0 too
    found = count * log_rate - rate - torch.lgamma(count + 1)
    return torch.where(possible, found.to(value.dtype), -torch.inf)


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
