"""Exponential(rate) on the positive reals."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp = kernel("vispec.kernels.probability", "log_1_minus_exp")


def exponential_log_prob(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log rate - rate · value, elementwise; -inf below 0."""
    wide = rate.double()
    return (wide.log() - wide * value.double()).to(value.dtype).masked_fill(value < 0, -torch.inf)


def exponential_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """1 over the mean of elements (N, *event)."""
    return (1 / value.mean(0),)


def exponential_log_cdf(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(-rate · value)), elementwise; -inf at and below 0."""
    inside = value > 0
    found = log_1_minus_exp(rate.double() * torch.where(inside, value, 1.0).double())
    return torch.where(inside, found.to(value.dtype), -torch.inf)


def exponential_log_survival(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """-rate · value, elementwise; 0 below 0."""
    return torch.where(value > 0, -rate * value, 0.0)


ENTRY = Distribution(
    name="Exponential",
    params={"rate": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Exponential",
    kernel=exponential_log_prob,
    log_cdf=exponential_log_cdf,
    log_survival=exponential_log_survival,
    start=exponential_start,
    examples=({"rate": 0.5}, {"rate": 4.0}),
)
