"""Laplace(loc, scale) on the real line."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def laplace_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """-|value - loc| / scale - log(2 scale), elementwise."""
    return -(value - loc).abs() / scale - (2 * scale).log()


def laplace_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median and mean distance from it of elements (N, *event); a distance of 0 tells no scale, which is nan."""
    loc = value.sort(0).values[(len(value) - 1) // 2]
    scale = (value - loc).abs().mean(0)
    return loc, scale.masked_fill(scale == 0, torch.nan)


def laplace_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of exp(z) / 2 below 0 and of 1 - exp(-z) / 2 above, for z = (value - loc) / scale, elementwise."""
    z = (value.double() - loc.double()) / scale.double()
    tail = -z.abs() - 0.6931471805599453  # log 2
    return torch.where(z < 0, tail, torch.log1p(-tail.exp())).to(value.dtype)


def laplace_log_survival(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log of exp(-z) / 2 above 0 and of 1 - exp(z) / 2 below, for z = (value - loc) / scale, elementwise."""
    z = -(value.double() - loc.double()) / scale.double()
    tail = -z.abs() - 0.6931471805599453  # log 2
    return torch.where(z < 0, tail, torch.log1p(-tail.exp())).to(value.dtype)


ENTRY = Distribution(
    name="Laplace",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Laplace",
    kernel=laplace_log_prob,
    log_cdf=laplace_log_cdf,
    log_survival=laplace_log_survival,
    start=laplace_start,
    examples=({"loc": 0.5, "scale": 2.0},),
)
