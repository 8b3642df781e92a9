"""Binomial(total_count, probs) on the counts: successes among total_count tries."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_poisson = kernel("vispec.kernels.poisson", "log_poisson")
stirling_remainder = kernel("vispec.kernels.poisson", "stirling_remainder")


def binomial_log_prob(
    value: torch.Tensor, total_count: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor
) -> torch.Tensor:
    """log of total_count choose value + value log p + (total_count - value) log(1 - p), elementwise; else -inf.

    Both logarithms in float64, p + (1 - p) = 1."""
    outside = (value < 0) | (value > total_count)
    hits, tries = value.masked_fill(outside, 0.0).double(), total_count.double()
    found = (
        log_poisson(hits, tries * log_p.exp()) + log_poisson(tries - hits, tries * log_rest.exp()) + stirling_remainder(tries)
    )
    return found.to(value.dtype).masked_fill(outside, -torch.inf)


def binomial_start(value: torch.Tensor, total_count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of successes in all tries of elements (N, *event), with one more of either kind; behind the tries themselves."""
    tries = total_count.expand(value.shape)
    return tries.mean(0), (value.sum(0) + 1) / (tries.sum(0) + 2)


ENTRY = Distribution(
    name="Binomial",
    params={"total_count": "count", "probs": "unit"},
    forms={"probs": "logs"},
    wide=("probs",),
    support="count",
    everywhere=False,
    torch_class="Binomial",
    kernel=binomial_log_prob,
    start=binomial_start,
    examples=({"total_count": 6.0, "probs": 0.3},),
)
