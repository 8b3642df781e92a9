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


ENTRY = Distribution(
    name="Weibull",
    params={"scale": "positive", "concentration": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Weibull",
    kernel=weibull_log_prob,
    examples=({"scale": 2.0, "concentration": 1.5},),
)
