"""Beta(concentration1, concentration0) on the unit interval; its mean is concentration1 / (concentration1 + concentration0)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

beta_tails = kernel("vispec.kernels.tails.incomplete_beta", "beta_tails")


def beta_log_prob(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log Beta(value; concentration1, concentration0), elementwise; -inf outside the open interval (0, 1)."""
    inside = (value > 0) & (value < 1)
    safe, a, b = torch.where(inside, value, 0.5).double(), concentration1.double(), concentration0.double()
    log_norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    kernel = (a - 1) * safe.log() + (b - 1) * torch.log1p(-safe)
    return torch.where(inside, (kernel - log_norm).to(value.dtype), -torch.inf)


def beta_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From mean m and variance m (1 - m) / (c + 1) of elements (N, *event), c the sum of both concentrations; the share of the
    variance in m (1 - m) is drawn towards 1 / 2 by 1 / N², so that few equal elements tell little."""
    n, mean = len(value) ** 2, value.mean(0)
    share = (n * value.var(0, correction=0) / (mean * (1 - mean)) + 0.5) / (n + 1)
    total = 1 / share - 1
    return mean * total, (1 - mean) * total


def beta_log_cdf(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log P(X ≤ value), elementwise; -inf at and below 0, 0 from 1 on."""
    inside = (value > 0) & (value < 1)
    safe = torch.where(inside, value, 0.5).double()
    found = beta_tails(concentration1.double(), concentration0.double(), safe.log(), torch.log1p(-safe))[0]
    return torch.where(inside, found.to(value.dtype), torch.where(value >= 1, 0.0, -torch.inf))


def beta_log_survival(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log P(X > value), elementwise; 0 at and below 0, -inf from 1 on."""
    inside = (value > 0) & (value < 1)
    safe = torch.where(inside, value, 0.5).double()
    found = beta_tails(concentration1.double(), concentration0.double(), safe.log(), torch.log1p(-safe))[1]
    return torch.where(inside, found.to(value.dtype), torch.where(value <= 0, 0.0, -torch.inf))


ENTRY = Distribution(
    name="Beta",
    params={"concentration1": "positive", "concentration0": "positive"},
    support="unit",
    everywhere=False,
    has_rsample=True,
    once=True,
    torch_class="Beta",
    kernel=beta_log_prob,
    log_cdf=beta_log_cdf,
    log_survival=beta_log_survival,
    start=beta_start,
    examples=({"concentration1": 2.0, "concentration0": 3.0}, {"concentration1": 1.5, "concentration0": 1.0}),
)
