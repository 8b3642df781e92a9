"""TruncatedNormal(loc, scale): a Normal on the positive reals, the rest of it cut off."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp = kernel("vispec.kernels.probability", "log_1_minus_exp")


def truncated_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²) − log Φ(loc / scale), elementwise; -inf below 0."""
    density = -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2
    return torch.where(value >= 0, density - torch.special.log_ndtr(loc / scale), -torch.inf)


def truncated_normal_sample(loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """A draw of the broadcast shape of loc and scale: the inverse of the upper tail, in double precision."""
    ratio = (loc / scale).double()
    tail = torch.special.ndtr(ratio) * torch.rand_like(ratio)
    return (scale * (ratio - torch.special.ndtri(tail)).clamp(min=0)).to(scale.dtype)


def truncated_normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From mean m and variance v of elements (N, *event): m = loc + scale λ with λ = φ(loc / scale) / Φ(loc / scale), and
    v = scale² - m (m - loc); these in turn from where nothing is cut off. nan where all are equal."""
    mean, variance = value.mean(0), (value - value[:1]).var(0, correction=0)
    variance = variance.masked_fill(variance == 0, torch.nan)
    loc, scale = mean, variance.sqrt()
    for _ in range(20):
        ratio = loc / scale
        hazard = torch.exp(-0.5 * ratio.square() - 0.9189385332046727 - torch.special.log_ndtr(ratio))  # log(2π) / 2
        loc = mean - scale * hazard
        scale = (variance + mean * (mean - loc)).sqrt()
    return loc, scale


def truncated_normal_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of 1 - Φ((loc - value) / scale) / Φ(loc / scale), elementwise; -inf at and below 0."""
    inside = value > 0
    left = truncated_normal_log_survival(
        torch.where(inside, value, scale.to(value.dtype)).double(), loc.double(), scale.double()
    )
    return torch.where(inside, log_1_minus_exp(-left).to(value.dtype), -torch.inf)


def truncated_normal_log_survival(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of Φ((loc - value) / scale) / Φ(loc / scale), elementwise; 0 at and below 0."""
    scale, loc = scale.double(), loc.double()
    z = (torch.where(value > 0, value, 0.0).double() - loc) / scale
    return torch.where(value > 0, torch.special.log_ndtr(-z) - torch.special.log_ndtr(loc / scale), 0.0).to(value.dtype)


ENTRY = Distribution(
    name="TruncatedNormal",
    params={"loc": "real", "scale": "positive"},
    support="positive",
    kernel=truncated_normal_log_prob,
    log_cdf=truncated_normal_log_cdf,
    log_survival=truncated_normal_log_survival,
    sampler=truncated_normal_sample,
    start=truncated_normal_start,
    examples=({"loc": 0.5, "scale": 2.0}, {"loc": -1.0, "scale": 0.5}),
)
