"""Geometric(probs) on the counts: failures before the first success."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp = kernel("vispec.kernels.probability", "log_1_minus_exp")


def geometric_log_prob(value: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor) -> torch.Tensor:
    """value · log(1 - p) + log p, elementwise; -inf below 0."""
    failures = torch.where(value > 0, value * log_rest, 0.0)  # 0 · -inf would be NaN
    return torch.where(value >= 0, failures + log_p, -torch.inf)


def geometric_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Share of successes in all tries of elements (N, *event), with half a try more of either kind."""
    return ((len(value) + 0.5) / (value.sum(0) + len(value) + 1),)


def geometric_log_cdf(value: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor) -> torch.Tensor:
    """log(1 - (1 - p)^(value + 1)), elementwise; -inf below 0."""
    inside = (value >= 0) & (log_rest < 0)
    tries, log_rest = torch.where(inside, value.floor() + 1, 1.0).double(), torch.where(inside, log_rest, -1.0).double()
    return torch.where(inside, log_1_minus_exp(-tries * log_rest).to(value.dtype), -torch.inf)


def geometric_log_survival(value: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor) -> torch.Tensor:
    """(value + 1) log(1 - p), elementwise; 0 below 0."""
    tries = value.floor() + 1
    inside = (tries > 0) & (log_rest > -torch.inf)
    certain = torch.where(tries > 0, -torch.inf, torch.zeros_like(log_rest))
    return torch.where(inside, tries * torch.where(inside, log_rest, 0.0), certain)


ENTRY = Distribution(
    name="Geometric",
    params={"probs": "unit"},
    forms={"probs": "logs"},
    support="count",
    everywhere=False,
    torch_class="Geometric",
    kernel=geometric_log_prob,
    log_cdf=geometric_log_cdf,
    log_survival=geometric_log_survival,
    start=geometric_start,
    examples=({"probs": 0.3}, {"probs": 0.9}),
)
