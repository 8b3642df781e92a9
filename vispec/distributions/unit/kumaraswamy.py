"""Kumaraswamy(concentration1, concentration0) on the unit interval: like a Beta, with a closed distribution function."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def kumaraswamy_log_prob(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log a b + (a - 1) log v + (b - 1) log(1 - v^a) for concentrations a, b, elementwise; -inf outside (0, 1)."""
    inside = (value > 0) & (value < 1)
    log = torch.where(inside, value, 0.5).log()
    rest = torch.log(-torch.expm1(concentration1 * log))
    density = concentration1.log() + concentration0.log() + (concentration1 - 1) * log + (concentration0 - 1) * rest
    return torch.where(inside, density, -torch.inf)


ENTRY = Distribution(
    name="Kumaraswamy",
    params={"concentration1": "positive", "concentration0": "positive"},
    support="unit",
    everywhere=False,
    has_rsample=True,
    torch_class="Kumaraswamy",
    kernel=kumaraswamy_log_prob,
    examples=({"concentration1": 2.0, "concentration0": 3.0},),
)
