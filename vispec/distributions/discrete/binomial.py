"""Binomial(total_count, probs) on the counts: successes among total_count tries."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

beta_tails = kernel("vispec.kernels.tails.incomplete_beta", "beta_tails")


def binomial_log_prob(
    value: torch.Tensor, total_count: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor
) -> torch.Tensor:
    """log of total_count choose value + value log p + (total_count - value) log(1 - p), elementwise; else -inf.

    Both logarithms in float64."""
    inside = (value >= 0) & (value <= total_count)
    hits, tries = (torch.where(inside, each, 0.0).double() for each in (value, total_count))
    misses = tries - hits
    log_choose = torch.lgamma(tries + 1) - torch.lgamma(hits + 1) - torch.lgamma(misses + 1)
    log_hits = torch.where(hits > 0, hits * log_p, 0.0)  # 0 · -inf would be NaN
    log_misses = torch.where(misses > 0, misses * log_rest, 0.0)
    return torch.where(inside, (log_choose + log_hits + log_misses).to(value.dtype), -torch.inf)


def binomial_start(value: torch.Tensor, total_count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of successes in all tries of elements (N, *event), with one more of either kind; behind the tries themselves."""
    tries = total_count.expand(value.shape)
    return tries.mean(0), (value.sum(0) + 1) / (tries.sum(0) + 2)


def binomial_log_cdf(
    value: torch.Tensor, total_count: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor
) -> torch.Tensor:
    """log P(Y ≤ 1 - p) of Y ~ Beta(total_count - value, value + 1), elementwise; -inf below 0, 0 from total_count on."""
    some = (value >= 0) & (value.floor() < total_count)
    inside = some & (log_p > -torch.inf) & (log_rest > -torch.inf)
    hits = torch.where(inside, value.floor(), 0.0).double()
    misses = torch.where(inside, total_count.double() - hits, 1.0)
    logs = (torch.where(inside, log.double(), -0.6931471805599453) for log in (log_rest, log_p))  # log ½
    found = beta_tails(misses, hits + 1, *logs)[0].to(value.dtype)
    certain = torch.where((value >= 0) & (~some | (log_p == -torch.inf)), 0.0, -torch.inf)
    return torch.where(inside, found, certain.to(value.dtype))


def binomial_log_survival(
    value: torch.Tensor, total_count: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor
) -> torch.Tensor:
    """log P(Y > 1 - p) of Y ~ Beta(total_count - value, value + 1), elementwise; 0 below 0, -inf from total_count on."""
    some = (value >= 0) & (value.floor() < total_count)
    inside = some & (log_p > -torch.inf) & (log_rest > -torch.inf)
    hits = torch.where(inside, value.floor(), 0.0).double()
    misses = torch.where(inside, total_count.double() - hits, 1.0)
    logs = (torch.where(inside, log.double(), -0.6931471805599453) for log in (log_rest, log_p))  # log ½
    found = beta_tails(misses, hits + 1, *logs)[1].to(value.dtype)
    certain = torch.where((value < 0) | (some & (log_rest == -torch.inf)), 0.0, -torch.inf)
    return torch.where(inside, found, certain.to(value.dtype))


ENTRY = Distribution(
    name="Binomial",
    params={"total_count": "count", "probs": "unit"},
    forms={"probs": "logs"},
    wide=("probs",),
    support="count",
    everywhere=False,
    torch_class="Binomial",
    kernel=binomial_log_prob,
    log_cdf=binomial_log_cdf,
    log_survival=binomial_log_survival,
    start=binomial_start,
    examples=({"total_count": 6.0, "probs": 0.3},),
)
