"""Gumbel(loc, scale) on the real line: the law of a maximum."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp_of = kernel("vispec.kernels.probability", "log_1_minus_exp_of")


def gumbel_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From mean loc + 0.577 scale (Euler's constant) and deviation π scale / √6 of elements (N, *event); a deviation of 0 tells
    no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0) * 0.7796968012336761  # √6 / π
    return value.mean(0) - 0.5772156649015329 * scale, scale.masked_fill(scale == 0, torch.nan)


def gumbel_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """-z - exp(-z) - log scale for z = (value - loc) / scale, elementwise."""
    z = (value - loc) / scale
    return -z - torch.exp(-z) - scale.log()


def gumbel_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """-exp((loc - value) / scale), elementwise."""
    return -torch.exp((loc.double() - value.double()) / scale.double()).to(value.dtype)


def gumbel_log_survival(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(-exp((loc - value) / scale))), elementwise."""
    return log_1_minus_exp_of((loc.double() - value.double()) / scale.double()).to(value.dtype)


ENTRY = Distribution(
    name="Gumbel",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Gumbel",
    kernel=gumbel_log_prob,
    log_cdf=gumbel_log_cdf,
    log_survival=gumbel_log_survival,
    start=gumbel_start,
    examples=({"loc": 0.5, "scale": 2.0},),
)
