"""Normal(loc, scale) on the real line."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


def normal_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log Φ((value - loc) / scale), elementwise."""
    return torch.special.log_ndtr((value.double() - loc.double()) / scale.double()).to(value.dtype)


def normal_log_survival(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log Φ((loc - value) / scale), elementwise."""
    return torch.special.log_ndtr((loc.double() - value.double()) / scale.double()).to(value.dtype)


ENTRY = Distribution(
    name="Normal",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Normal",
    kernel=normal_log_prob,
    log_cdf=normal_log_cdf,
    log_survival=normal_log_survival,
    start=normal_start,
    examples=({"loc": 0.5, "scale": 2.0}, {"loc": -3.0, "scale": 0.1}),
)
