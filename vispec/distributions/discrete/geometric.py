"""Geometric(probs) on the counts: failures before the first success."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def geometric_log_prob(value: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor) -> torch.Tensor:
    """value · log(1 - p) + log p, elementwise; -inf below 0."""
    failures = torch.where(value > 0, value * log_rest, 0.0)  # 0 · -inf would be NaN
    return torch.where(value >= 0, failures + log_p, -torch.inf)


def geometric_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Share of successes in all tries of elements (N, *event), with half a try more of either kind."""
    return ((len(value) + 0.5) / (value.sum(0) + len(value) + 1),)


ENTRY = Distribution(
    name="Geometric",
    params={"probs": "unit"},
    forms={"probs": "logs"},
    support="count",
    everywhere=False,
    torch_class="Geometric",
    kernel=geometric_log_prob,
    start=geometric_start,
    examples=({"probs": 0.3}, {"probs": 0.9}),
)
