"""Cauchy(loc, scale) on the real line; it has no mean."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def cauchy_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median of elements (N, *event) and half the distance of their quartiles; where all are equal, the scale is nan."""
    n = len(value)
    low, loc, high = value.sort(0).values[[n // 4, n // 2, 3 * n // 4]]
    scale = torch.where(high > low, (high - low) / 2, (value - value[:1]).std(0, correction=0))
    return loc, scale.masked_fill(scale == 0, torch.nan)


def cauchy_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """-log π scale - log(1 + ((value - loc) / scale)²), elementwise."""
    z = (value - loc) / scale
    return -1.1447298858494002 - scale.log() - torch.log1p(z.square())  # log π


def cauchy_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of ½ + atan((value - loc) / scale) / π, elementwise."""
    z = (value.double() - loc.double()) / scale.double()
    low = z < 0
    share = torch.atan2(torch.ones_like(z), z.abs()) * 0.3183098861837907  # 1 / π
    return torch.where(low, share.log(), torch.log1p(-share)).to(value.dtype)


def cauchy_log_survival(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of ½ - atan((value - loc) / scale) / π, elementwise."""
    z = -(value.double() - loc.double()) / scale.double()
    low = z < 0
    share = torch.atan2(torch.ones_like(z), z.abs()) * 0.3183098861837907  # 1 / π
    return torch.where(low, share.log(), torch.log1p(-share)).to(value.dtype)


ENTRY = Distribution(
    name="Cauchy",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Cauchy",
    kernel=cauchy_log_prob,
    log_cdf=cauchy_log_cdf,
    log_survival=cauchy_log_survival,
    start=cauchy_start,
    examples=({"loc": 0.5, "scale": 2.0},),
)
