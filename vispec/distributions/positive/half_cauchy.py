"""HalfCauchy(scale) on the positive reals: the absolute value of a Cauchy(0, scale)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def half_cauchy_log_prob(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 / π - log scale - log(1 + (value / scale)²), elementwise; -inf below 0."""
    density = -0.45158270528945486 - scale.log() - torch.log1p((value / scale).square())  # log(2 / π)
    return torch.where(value >= 0, density, -torch.inf)


def half_cauchy_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Median of elements (N, *event), which is that of the law at its scale."""
    scale = value.sort(0).values[(len(value) - 1) // 2]
    return (scale.masked_fill(scale == 0, torch.nan),)


def half_cauchy_log_cdf(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of 2 / π atan(value / scale), elementwise; -inf at and below 0."""
    inside = value > 0
    z = torch.where(inside, value, 1.0).double() / scale.double()
    near = z < 1
    inner = torch.atan(torch.where(near, z, 1.0)) * 0.6366197723675814  # 2 / π
    outer = torch.atan(1 / torch.where(near, 1.0, z)) * 0.6366197723675814
    return torch.where(inside, torch.where(near, inner.log(), torch.log1p(-outer)).to(value.dtype), -torch.inf)


def half_cauchy_log_survival(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of 2 / π atan(scale / value), elementwise; 0 at and below 0."""
    inside = value > 0
    z = torch.where(inside, value, 1.0).double() / scale.double()
    near = z < 1
    inner = torch.atan(torch.where(near, z, 1.0)) * 0.6366197723675814  # 2 / π
    outer = torch.atan(1 / torch.where(near, 1.0, z)) * 0.6366197723675814
    return torch.where(inside, torch.where(near, torch.log1p(-inner), outer.log()).to(value.dtype), 0.0)


ENTRY = Distribution(
    name="HalfCauchy",
    params={"scale": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="HalfCauchy",
    kernel=half_cauchy_log_prob,
    log_cdf=half_cauchy_log_cdf,
    log_survival=half_cauchy_log_survival,
    start=half_cauchy_start,
    examples=({"scale": 2.0},),
)
