"""LogNormal(loc, scale) on the positive reals: exp of a Normal(loc, scale)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def log_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(log value; loc, scale²) - log value, elementwise; -inf at and below 0."""
    inside = value > 0
    log = torch.where(inside, value, 1.0).log()
    density = -0.5 * ((log - loc) / scale).square() - scale.log() - log - 0.9189385332046727  # log(2π) / 2
    return torch.where(inside, density, -torch.inf)


def log_normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the logarithms of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    log = value.log()
    scale = (log - log[:1]).std(0, correction=0)
    return log.mean(0), scale.masked_fill(scale == 0, torch.nan)


def into_positive(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(x), and the logarithm of its derivative, elementwise."""
    return x.exp(), x


def log_normal_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log Φ((log value - loc) / scale), elementwise; -inf at and below 0."""
    inside = value > 0
    z = (torch.where(inside, value, 1.0).double().log() - loc.double()) / scale.double()
    return torch.where(inside, torch.special.log_ndtr(z).to(value.dtype), -torch.inf)


def log_normal_log_survival(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log Φ((loc - log value) / scale), elementwise; 0 at and below 0."""
    inside = value > 0
    z = (torch.where(inside, value, 1.0).double().log() - loc.double()) / scale.double()
    return torch.where(inside, torch.special.log_ndtr(-z).to(value.dtype), 0.0)


ENTRY = Distribution(
    name="LogNormal",
    params={"loc": "real", "scale": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="LogNormal",
    kernel=log_normal_log_prob,
    log_cdf=log_normal_log_cdf,
    log_survival=log_normal_log_survival,
    start=log_normal_start,
    carry=into_positive,
    examples=({"loc": 0.5, "scale": 0.7},),
)
