"""Gamma(concentration, rate) on the positive reals; its mean is concentration / rate."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


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


ENTRY = Distribution(
    name="Gamma",
    params={"concentration": "positive", "rate": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Gamma",
    kernel=gamma_log_prob,
    start=gamma_start,
    examples=({"concentration": 2.0, "rate": 0.5}, {"concentration": 1.5, "rate": 6.0}),
)
