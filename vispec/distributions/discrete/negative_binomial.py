"""NegativeBinomial(total_count, probs) on the counts: successes, of probability probs, before total_count failures."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_poisson = kernel("vispec.kernels.poisson", "log_poisson")
stirling_remainder = kernel("vispec.kernels.poisson", "stirling_remainder")


def negative_binomial_log_prob(
    value: torch.Tensor, total_count: torch.Tensor, log_p: torch.Tensor, log_rest: torch.Tensor
) -> torch.Tensor:
    """value log p + total_count log(1 - p) + log of (value + total_count - 1) choose value, elementwise; -inf below 0.

    Both logarithms in float64, p + (1 - p) = 1. It is Binomial(value; tries, p) · total_count / tries for so many tries."""
    hits, misses = value.clamp(min=0).double(), total_count.double()
    tries = hits + misses
    found = log_poisson(hits, tries * log_p.exp()) + log_poisson(misses, tries * log_rest.exp()) + stirling_remainder(tries)
    return (found + (misses / tries).log()).to(value.dtype).masked_fill(value < 0, -torch.inf)


def negative_binomial_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From mean m and variance m + m² / total_count of elements (N, *event), total_count at most N; nan where all are 0."""
    mean = value.mean(0)
    excess = torch.maximum(value.var(0, correction=0) - mean, mean.square() / len(value))
    total_count = mean.square() / excess
    return total_count, mean / (mean + total_count)


ENTRY = Distribution(
    name="NegativeBinomial",
    params={"total_count": "positive", "probs": "unit"},
    forms={"probs": "logs"},
    wide=("probs",),
    support="count",
    everywhere=False,
    torch_class="NegativeBinomial",
    kernel=negative_binomial_log_prob,
    start=negative_binomial_start,
    examples=({"total_count": 2.5, "probs": 0.6},),
)
