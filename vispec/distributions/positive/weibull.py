"""Weibull(scale, concentration) on the positive reals."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def weibull_log_prob(value: torch.Tensor, scale: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log k / s + (k - 1) log(value / s) - (value / s)^k for scale s, concentration k, elementwise; -inf at and below 0."""
    inside = value > 0
    positive, scale, k = torch.where(inside, value, 1.0).double(), scale.double(), concentration.double()
    log = (positive / scale).log()
    density = (k / scale).log() + (k - 1) * log - (k * log).exp()
    return density.to(value.dtype).masked_fill(~inside, -torch.inf)


def weibull_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From the logarithms of elements (N, *event): for concentration k they deviate by π / √6 k from a mean of
    log scale - 0.577 / k (Euler's constant); 1 / N² is added to the variance, so that few equal elements tell little."""
    log = value.log()
    concentration = 1.2825498301618641 / (log.var(0, correction=0) + 1 / len(value) ** 2).sqrt()  # π / √6
    return (log.mean(0) + 0.5772156649015329 / concentration).exp(), concentration


ENTRY = Distribution(
    name="Weibull",
    params={"scale": "positive", "concentration": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Weibull",
    kernel=weibull_log_prob,
    start=weibull_start,
    examples=({"scale": 2.0, "concentration": 1.5},),
)
