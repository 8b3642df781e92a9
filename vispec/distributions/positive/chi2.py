"""Chi2(df) on the positive reals: the sum of df squared standard normal numbers, Gamma(df / 2, 1 / 2)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_poisson = kernel("vispec.kernels.poisson", "log_poisson")


def chi2_log_prob(value: torch.Tensor, df: torch.Tensor) -> torch.Tensor:
    """log Gamma(value; df / 2, 1 / 2), elementwise; -inf at and below 0."""
    inside = value > 0
    positive, half = torch.where(inside, value, 1.0).double(), 0.5 * df.double()
    found = log_poisson(half, 0.5 * positive) + (half / positive).log()
    return found.to(value.dtype).masked_fill(~inside, -torch.inf)


def chi2_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """The mean of elements (N, *event), which is that of the law at its df."""
    return (value.mean(0),)


ENTRY = Distribution(
    name="Chi2",
    params={"df": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Chi2",
    kernel=chi2_log_prob,
    start=chi2_start,
    examples=({"df": 3.0},),
)
