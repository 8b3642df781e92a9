"""Chi2(df) on the positive reals: the sum of df squared standard normal numbers, Gamma(df / 2, 1 / 2)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

gamma_tails = kernel("vispec.kernels.tails.incomplete_gamma", "gamma_tails")


def chi2_log_prob(value: torch.Tensor, df: torch.Tensor) -> torch.Tensor:
    """log Gamma(value; df / 2, 1 / 2), elementwise; -inf at and below 0."""
    inside = value > 0
    positive, half = torch.where(inside, value, 1.0).double(), 0.5 * df.double()
    density = (half - 1) * positive.log() - 0.5 * positive - (half * 0.6931471805599453 + torch.lgamma(half))  # log 2
    return torch.where(inside, density.to(value.dtype), -torch.inf)


def chi2_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """The mean of elements (N, *event), which is that of the law at its df."""
    return (value.mean(0),)


def chi2_log_cdf(value: torch.Tensor, df: torch.Tensor) -> torch.Tensor:
    """log P(Y ≤ y) of Y ~ Gamma(df / 2, 1) and y = value / 2, elementwise; -inf at and below 0."""
    inside = value > 0
    positive = torch.where(inside, value, 1.0).double()
    found = gamma_tails(0.5 * df.double(), 0.5 * positive)[0]
    return torch.where(inside, found.to(value.dtype), -torch.inf)


def chi2_log_survival(value: torch.Tensor, df: torch.Tensor) -> torch.Tensor:
    """log P(Y > y) of Y ~ Gamma(df / 2, 1) and y = value / 2, elementwise; 0 at and below 0."""
    inside = value > 0
    positive = torch.where(inside, value, 1.0).double()
    found = gamma_tails(0.5 * df.double(), 0.5 * positive)[1]
    return torch.where(inside, found.to(value.dtype), 0.0)


ENTRY = Distribution(
    name="Chi2",
    params={"df": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Chi2",
    kernel=chi2_log_prob,
    log_cdf=chi2_log_cdf,
    log_survival=chi2_log_survival,
    start=chi2_start,
    examples=({"df": 3.0},),
)
