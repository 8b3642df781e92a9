"""Geometric(probs) on the counts: failures before the first success."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def geometric_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """value · log P(failure) + log P(success) for log-odds of success `logit`, elementwise; -inf below 0."""
    failures = torch.where(value > 0, value * torch.nn.functional.logsigmoid(-logit), 0.0)  # 0 · -inf would be NaN
    return torch.where(value >= 0, failures + torch.nn.functional.logsigmoid(logit), -torch.inf)


ENTRY = Distribution(
    name="Geometric",
    params={"probs": "unit"},
    forms={"probs": "logit"},
    support="count",
    torch_class="Geometric",
    kernel=geometric_log_prob,
    examples=({"probs": 0.3}, {"probs": 0.9}),
)
