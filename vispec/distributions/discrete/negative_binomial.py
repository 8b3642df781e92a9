"""NegativeBinomial(total_count, probs) on the counts: successes, of probability probs, before total_count failures."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

beta_tails = kernel("vispec.kernels.tails.incomplete_beta", "beta_tails")


def negative_binomial_log_prob(
    value: torch.Tensor, total_count: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor
) -> torch.Tensor:
    """value log p + total_count log(1 - p) + log of (value + total_count - 1) choose value, elementwise; -inf below 0.

    Both logarithms in float64."""
    inside = value >= 0
    hits, total_count = torch.where(inside, value, 0.0).double(), total_count.double()
    log_choose = torch.lgamma(total_count + hits) - torch.lgamma(total_count) - torch.lgamma(hits + 1)
    log_hits = torch.where(hits > 0, hits * log_p, 0.0)  # 0 · -inf would be NaN
    never = log_rest == -torch.inf  # p = 1: no number of failures is ever reached, and ∞ · 0 in the gradient would be NaN
    log_misses = (total_count * log_rest.masked_fill(never, 0.0)).masked_fill(never, -torch.inf)
    return torch.where(inside, (log_choose + log_hits + log_misses).to(value.dtype), -torch.inf)


def negative_binomial_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From mean m and variance m + m² / total_count of elements (N, *event), total_count at most N; nan where all are 0."""
    mean = value.mean(0)
    excess = torch.maximum(value.var(0, correction=0) - mean, mean.square() / len(value))
    total_count = mean.square() / excess
    return total_count, mean / (mean + total_count)


def negative_binomial_log_cdf(
    value: torch.Tensor, total_count: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor
) -> torch.Tensor:
    """log P(Y ≤ 1 - p) of Y ~ Beta(total_count, value + 1), elementwise; -inf below 0."""
    inside = (value >= 0) & (log_p > -torch.inf) & (log_rest > -torch.inf)
    count = torch.where(inside, value.floor(), 0.0).double()
    logs = (torch.where(inside, log.double(), -0.6931471805599453) for log in (log_rest, log_p))  # log ½
    found = beta_tails(total_count.double(), count + 1, *logs)[0].to(value.dtype)
    certain = torch.where((value >= 0) & (log_p == -torch.inf), 0.0, -torch.inf)
    return torch.where(inside, found, certain.to(value.dtype))


def negative_binomial_log_survival(
    value: torch.Tensor, total_count: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor
) -> torch.Tensor:
    """log P(Y > 1 - p) of Y ~ Beta(total_count, value + 1), elementwise; 0 below 0."""
    inside = (value >= 0) & (log_p > -torch.inf) & (log_rest > -torch.inf)
    count = torch.where(inside, value.floor(), 0.0).double()
    logs = (torch.where(inside, log.double(), -0.6931471805599453) for log in (log_rest, log_p))  # log ½
    found = beta_tails(total_count.double(), count + 1, *logs)[1].to(value.dtype)
    certain = torch.where((value < 0) | (log_rest == -torch.inf), 0.0, -torch.inf)
    return torch.where(inside, found, certain.to(value.dtype))


ENTRY = Distribution(
    name="NegativeBinomial",
    params={"total_count": "positive", "probs": "unit"},
    forms={"probs": "logs"},
    wide=("probs",),
    support="count",
    everywhere=False,
    torch_class="NegativeBinomial",
    kernel=negative_binomial_log_prob,
    log_cdf=negative_binomial_log_cdf,
    log_survival=negative_binomial_log_survival,
    start=negative_binomial_start,
    examples=({"total_count": 2.5, "probs": 0.6},),
)
