"""Zero(): all mass at 0, as in `Zero() if closed else Poisson(rate)`."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def zero_log_prob(value: torch.Tensor) -> torch.Tensor:
    """0 where value is 0 and -inf elsewhere."""
    return torch.zeros_like(value).masked_fill(value != 0, -torch.inf)


def zero_sample() -> torch.Tensor:
    """The only draw, () for any number of leading axes."""
    return torch.zeros(())


def zero_log_cdf(value: torch.Tensor) -> torch.Tensor:
    """0 from 0 on and -inf below."""
    return torch.zeros_like(value).masked_fill(value < 0, -torch.inf)


def zero_log_survival(value: torch.Tensor) -> torch.Tensor:
    """-inf from 0 on and 0 below."""
    return torch.zeros_like(value).masked_fill(value >= 0, -torch.inf)


ENTRY = Distribution(
    name="Zero",
    params={},
    support="count",
    everywhere=False,
    other_supports=("real", "bit"),
    kernel=zero_log_prob,
    log_cdf=zero_log_cdf,
    log_survival=zero_log_survival,
    sampler=zero_sample,
    examples=({},),
)
