"""LogitNormal(loc, scale, low, high) between two ends: low + (high - low) sigmoid(x) of x ~ Normal(loc, scale)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def logit_normal_log_prob(
    value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, high: torch.Tensor
) -> torch.Tensor:
    """log N(x; loc, scale²) - log (value - low) - log (high - value) + log (high - low), elementwise, where x is the log-odds
    log (value - low) - log (high - value); -inf outside the open interval (low, high)."""
    inside = (value > low) & (value < high)
    below, above = torch.where(inside, value - low, 1.0).log(), torch.where(inside, high - value, 1.0).log()
    density = -0.5 * ((below - above - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2
    return torch.where(inside, density - below - above + (high - low).log(), -torch.inf)


def into_interval(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """low + (high - low) sigmoid(x), in [low, high] whatever the rounding, and the logarithm of its derivative, elementwise."""
    gain = torch.nn.functional.logsigmoid(x) + torch.nn.functional.logsigmoid(-x) + (high - low).log()
    return torch.lerp(low, high, torch.sigmoid(x)), gain


def logit_normal_sample(loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """A draw of the parameters' shape, with a gradient."""
    return torch.lerp(low, high, torch.sigmoid(loc + scale * torch.randn_like(loc + scale + low + high)))


def logit_normal_log_cdf(
    value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, high: torch.Tensor
) -> torch.Tensor:
    """log Φ((x - loc) / scale) for the log-odds x of the value between its ends, elementwise."""
    inside = (value > low) & (value < high)
    below, above = (torch.where(inside, x, 1.0).log() for x in (value.double() - low.double(), high.double() - value.double()))
    z = (below - above - loc.double()) / scale.double()
    certain = torch.where(value >= high, 0.0, -torch.inf)
    return torch.where(inside, torch.special.log_ndtr(z).to(value.dtype), certain.to(value.dtype))


def logit_normal_log_survival(
    value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, high: torch.Tensor
) -> torch.Tensor:
    """log Φ((loc - x) / scale) for the log-odds x of the value between its ends, elementwise."""
    inside = (value > low) & (value < high)
    below, above = (torch.where(inside, x, 1.0).log() for x in (value.double() - low.double(), high.double() - value.double()))
    z = (below - above - loc.double()) / scale.double()
    certain = torch.where(value <= low, 0.0, -torch.inf)
    return torch.where(inside, torch.special.log_ndtr(-z).to(value.dtype), certain.to(value.dtype))


ENTRY = Distribution(
    name="LogitNormal",
    params={"loc": "real", "scale": "positive", "low": "real", "high": "real"},
    support="real",
    everywhere=False,
    bounds=("low", "high"),
    inside=("positive", "unit"),
    has_rsample=True,
    kernel=logit_normal_log_prob,
    log_cdf=logit_normal_log_cdf,
    log_survival=logit_normal_log_survival,
    sampler=logit_normal_sample,
    carry=into_interval,
    examples=({"loc": 0.5, "scale": 0.7, "low": -1.0, "high": 2.5},),
)
