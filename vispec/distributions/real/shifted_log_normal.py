"""ShiftedLogNormal(loc, scale, low) above an end: low + exp(x) of x ~ Normal(loc, scale)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def shifted_log_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """log N(x; loc, scale²) - x at x = log(value - low), elementwise; -inf at and below low."""
    inside = value > low
    x = torch.where(inside, value - low, 1.0).log()
    density = -0.5 * ((x - loc) / scale).square() - scale.log() - x - 0.9189385332046727  # log(2π) / 2
    return torch.where(inside, density, -torch.inf)


def above_end(x: torch.Tensor, low: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """low + exp(x), and the logarithm of its derivative, elementwise."""
    return low + x.exp(), x


def shifted_log_normal_sample(loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """A draw of the parameters' shape, with a gradient."""
    return low + torch.exp(loc + scale * torch.randn_like(loc + scale + low))


def shifted_log_normal_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """log Φ((log(value - low) - loc) / scale), elementwise; -inf at and below low."""
    inside = value > low
    z = (torch.where(inside, value.double() - low.double(), 1.0).log() - loc.double()) / scale.double()
    return torch.where(inside, torch.special.log_ndtr(z).to(value.dtype), -torch.inf)


def shifted_log_normal_log_survival(
    value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor
) -> torch.Tensor:
    """log Φ((loc - log(value - low)) / scale), elementwise; 0 at and below low."""
    inside = value > low
    z = (torch.where(inside, value.double() - low.double(), 1.0).log() - loc.double()) / scale.double()
    return torch.where(inside, torch.special.log_ndtr(-z).to(value.dtype), 0.0)


ENTRY = Distribution(
    name="ShiftedLogNormal",
    params={"loc": "real", "scale": "positive", "low": "real"},
    support="real",
    everywhere=False,
    bounds=("low", None),
    inside=("positive",),
    has_rsample=True,
    kernel=shifted_log_normal_log_prob,
    log_cdf=shifted_log_normal_log_cdf,
    log_survival=shifted_log_normal_log_survival,
    sampler=shifted_log_normal_sample,
    carry=above_end,
    examples=({"loc": 0.5, "scale": 0.7, "low": -1.0},),
)
