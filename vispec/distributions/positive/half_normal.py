"""HalfNormal(scale) on the positive reals: the absolute value of a Normal(0, scale)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def half_normal_log_prob(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 N(value; 0, scale²), elementwise; -inf below 0."""
    density = -0.5 * (value / scale).square() - scale.log() - 0.22579135264472744  # log(π / 2) / 2
    return torch.where(value >= 0, density, -torch.inf)


def half_normal_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Root of the mean square of elements (N, *event)."""
    scale = value.square().mean(0).sqrt()
    return (scale.masked_fill(scale == 0, torch.nan),)


def half_normal_log_cdf(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of erf(value / √2 scale), elementwise; -inf at and below 0."""
    inside = value > 0
    z = torch.where(inside, value, 1.0).double() / scale.double()
    near = z < 1
    inner = torch.special.erf(torch.where(near, z, 1.0) * 0.7071067811865476).log()  # 1 / √2
    outer = torch.log1p(-2 * torch.special.ndtr(-torch.where(near, 1.0, z)))
    return torch.where(inside, torch.where(near, inner, outer).to(value.dtype), -torch.inf)


def half_normal_log_survival(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 Φ(-value / scale), elementwise; 0 at and below 0."""
    z = torch.where(value > 0, value, 0.0).double() / scale.double()
    return torch.where(value > 0, torch.special.log_ndtr(-z) + 0.6931471805599453, 0.0).to(value.dtype)  # log 2


ENTRY = Distribution(
    name="HalfNormal",
    params={"scale": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="HalfNormal",
    kernel=half_normal_log_prob,
    log_cdf=half_normal_log_cdf,
    log_survival=half_normal_log_survival,
    start=half_normal_start,
    examples=({"scale": 2.0},),
)
