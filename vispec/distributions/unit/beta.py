"""Beta(concentration1, concentration0) on the unit interval; its mean is concentration1 / (concentration1 + concentration0)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def beta_log_prob(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log Beta(value; concentration1, concentration0), elementwise; -inf outside the open interval (0, 1)."""
    inside = (value > 0) & (value < 1)
    safe = torch.where(inside, value, 0.5)
    log_norm = torch.lgamma(concentration1) + torch.lgamma(concentration0) - torch.lgamma(concentration1 + concentration0)
    kernel = (concentration1 - 1) * safe.log() + (concentration0 - 1) * torch.log1p(-safe)
    return torch.where(inside, kernel - log_norm, -torch.inf)


ENTRY = Distribution(
    name="Beta",
    params={"concentration1": "positive", "concentration0": "positive"},
    support="unit",
    everywhere=False,
    has_rsample=True,
    torch_class="Beta",
    kernel=beta_log_prob,
    examples=({"concentration1": 2.0, "concentration0": 3.0}, {"concentration1": 1.5, "concentration0": 1.0}),
)
