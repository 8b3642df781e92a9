"""Poisson(rate) on the counts."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

gamma_tails = kernel("vispec.kernels.tails.incomplete_gamma", "gamma_tails")


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


def poisson_log_cdf(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log P(Y > rate) of Y ~ Gamma(value + 1, 1), elementwise; -inf below 0."""
    inside = (value >= 0) & (rate > 0)
    count, safe = torch.where(inside, value.floor(), 0.0).double(), torch.where(inside, rate, 1.0).double()
    return torch.where(inside, gamma_tails(count + 1, safe)[1].to(value.dtype), torch.where(value < 0, -torch.inf, 0.0))


def poisson_log_survival(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log P(Y ≤ rate) of Y ~ Gamma(value + 1, 1), elementwise; 0 below 0."""
    inside = (value >= 0) & (rate > 0)
    count, safe = torch.where(inside, value.floor(), 0.0).double(), torch.where(inside, rate, 1.0).double()
    return torch.where(inside, gamma_tails(count + 1, safe)[0].to(value.dtype), torch.where(value < 0, 0.0, -torch.inf))


ENTRY = Distribution(
    name="Poisson",
    params={"rate": "positive"},
    support="count",
    torch_class="Poisson",
    kernel=poisson_log_prob,
    log_cdf=poisson_log_cdf,
    log_survival=poisson_log_survival,
    start=poisson_start,
    examples=({"rate": 0.3}, {"rate": 7.5}),
)
