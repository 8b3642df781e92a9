"""Gamma(concentration, rate) on the positive reals; its mean is concentration / rate."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

gamma_tails = kernel("vispec.kernels.tails.incomplete_gamma", "gamma_tails")


def gamma_log_prob(value: torch.Tensor, concentration: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log Gamma(value; concentration, rate), elementwise; -inf at and below 0."""
    inside = value > 0
    positive, concentration, rate = torch.where(inside, value, 1.0).double(), concentration.double(), rate.double()
    kernel = (concentration - 1) * positive.log() - rate * positive
    found = kernel + (concentration * rate.log() - torch.lgamma(concentration))
    return torch.where(inside, found.to(value.dtype), -torch.inf)


def gamma_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Near the maximum of the likelihood of elements (N, *event): with s = log mean - mean log, the concentration is about
    (3 - s + √((s - 3)² + 24 s)) / 12 s (Minka 2002); 1 / N² is added to s, so that few equal elements tell little."""
    mean = value.mean(0)
    s = mean.log() - value.log().mean(0) + 1 / len(value) ** 2
    concentration = (3 - s + ((s - 3).square() + 24 * s).sqrt()) / (12 * s)
    return concentration, concentration / mean


def gamma_log_cdf(value: torch.Tensor, concentration: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log P(Y ≤ y) of Y ~ Gamma(concentration, 1) and y = rate · value, elementwise; -inf at and below 0."""
    inside = value > 0
    positive = torch.where(inside, value, 1.0).double()
    found = gamma_tails(concentration.double(), rate.double() * positive)[0]
    return torch.where(inside, found.to(value.dtype), -torch.inf)


def gamma_log_survival(value: torch.Tensor, concentration: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log P(Y > y) of Y ~ Gamma(concentration, 1) and y = rate · value, elementwise; 0 at and below 0."""
    inside = value > 0
    positive = torch.where(inside, value, 1.0).double()
    found = gamma_tails(concentration.double(), rate.double() * positive)[1]
    return torch.where(inside, found.to(value.dtype), 0.0)


ENTRY = Distribution(
    name="Gamma",
    params={"concentration": "positive", "rate": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Gamma",
    kernel=gamma_log_prob,
    log_cdf=gamma_log_cdf,
    log_survival=gamma_log_survival,
    start=gamma_start,
    examples=({"concentration": 2.0, "rate": 0.5}, {"concentration": 1.5, "rate": 6.0}),
)
