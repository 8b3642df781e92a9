"""Exponential(rate) on the positive reals."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def exponential_log_prob(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log rate - rate · value, elementwise; -inf below 0."""
    wide = rate.double()
    return (wide.log() - wide * value.double()).to(value.dtype).masked_fill(value < 0, -torch.inf)


def exponential_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """1 over the mean of elements (N, *event)."""
    return (1 / value.mean(0),)


ENTRY = Distribution(
    name="Exponential",
    params={"rate": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Exponential",
    kernel=exponential_log_prob,
    start=exponential_start,
    examples=({"rate": 0.5}, {"rate": 4.0}),
)
