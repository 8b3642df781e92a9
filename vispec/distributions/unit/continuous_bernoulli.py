"""ContinuousBernoulli(probs) on the unit interval: a density proportional to probs^v (1 - probs)^(1 - v)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def continuous_bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """value · logit - log ∫ exp(u · logit) du over [0, 1], elementwise; -inf outside.

    The integral is (e^l - 1) / l = e^(l/2) sinh(l/2) / (l/2), by its series where l is small."""
    logit = logit.double()
    half = 0.5 * logit.abs()
    small = half < 0.05
    large = torch.where(small, 1.0, half)
    log_sinhc = large + torch.log1p(-torch.exp(-2 * large)) - (2 * large).log()
    square = torch.where(small, half, 0.0).square()
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square / 37800)))
    inside = (value >= 0) & (value <= 1)
    density = (value.double() - 0.5) * logit - torch.where(small, series, log_sinhc)
    return density.to(value.dtype).masked_fill(~inside, -torch.inf)


def continuous_bernoulli_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """From the mean of elements (N, *event): m = 2 mean - 1 is coth x - 1 / x for log-odds 2 x, whose inverse is about
    m (3 - m²) / (1 - m²) (Cohen 1991). nan where the probability is 0 or 1 to all digits."""
    m = 2 * value.mean(0) - 1
    probs = torch.sigmoid(2 * m * (3 - m.square()) / (1 - m.square()))
    return (probs.masked_fill((probs == 0) | (probs == 1), torch.nan),)


ENTRY = Distribution(
    name="ContinuousBernoulli",
    params={"probs": "unit"},
    forms={"probs": "logit"},
    support="unit",
    has_rsample=True,
    torch_class="ContinuousBernoulli",
    kernel=continuous_bernoulli_log_prob,
    start=continuous_bernoulli_start,
    examples=({"probs": 0.3}, {"probs": 0.502}, {"probs": 0.95}),
)
