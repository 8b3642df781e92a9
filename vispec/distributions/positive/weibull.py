"""Weibull(scale, concentration) on the positive reals."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp_of = kernel("vispec.kernels.probability", "log_1_minus_exp_of")


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


def weibull_log_cdf(value: torch.Tensor, scale: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(-(value / s)^k)) for scale s, concentration k, elementwise; -inf at and below 0."""
    inside = value > 0
    log = concentration.double() * (torch.where(inside, value, 1.0).double() / scale.double()).log()
    return torch.where(inside, log_1_minus_exp_of(log).to(value.dtype), -torch.inf)


def weibull_log_survival(value: torch.Tensor, scale: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """-(value / s)^k for scale s, concentration k, elementwise; 0 at and below 0."""
    inside = value > 0
    log = concentration.double() * (torch.where(inside, value, 1.0).double() / scale.double()).log()
    return torch.where(inside, (-log.exp()).to(value.dtype), 0.0)


ENTRY = Distribution(
    name="Weibull",
    params={"scale": "positive", "concentration": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Weibull",
    kernel=weibull_log_prob,
    log_cdf=weibull_log_cdf,
    log_survival=weibull_log_survival,
    start=weibull_start,
    examples=({"scale": 2.0, "concentration": 1.5},),
)
