"""Bernoulli(probs) on a bit."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


def bernoulli_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Share of ones among elements (N, *event), with one more of either kind."""
    return ((value.sum(0) + 1) / (len(value) + 2),)


ENTRY = Distribution(
    name="Bernoulli",
    params={"probs": "unit"},
    forms={"probs": "logit"},
    support="bit",
    torch_class="Bernoulli",
    kernel=bernoulli_log_prob,
    start=bernoulli_start,
    examples=({"probs": 0.3}, {"probs": 0.999}),
)
