"""ContinuousBernoulli(probs) on the unit interval: a density proportional to probs^v (1 - probs)^(1 - v)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp = kernel("vispec.kernels.probability", "log_1_minus_exp")


def log_sinhc(half: torch.Tensor) -> torch.Tensor:
    """log sinh(x) / x for x ≥ 0 in float64, elementwise, by its series where x is small."""
    small = half < 0.05
    large = torch.where(small, 1.0, half)
    square = torch.where(small, half, 0.0).square()
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square / 37800)))
    return torch.where(small, series, large + torch.log1p(-torch.exp(-2 * large)) - (2 * large).log())


def continuous_bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """value · logit - log ∫ exp(u · logit) du over [0, 1], elementwise; -inf outside.

    The integral is (e^l - 1) / l = e^(l/2) sinh(l/2) / (l/2)."""
    logit, inside = logit.double(), (value >= 0) & (value <= 1)
    density = (value.double() - 0.5) * logit - log_sinhc(0.5 * logit.abs())
    return density.to(value.dtype).masked_fill(~inside, -torch.inf)


def continuous_bernoulli_log_below(value: torch.Tensor, rest: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(X ≤ value) for 0 < value = 1 - rest < 1 in float64: of ∫ exp(u · logit) du up to the value, in that over [0, 1]."""
    inner = value.log() + log_sinhc(0.5 * (logit * value).abs())
    return inner - 0.5 * logit * rest - log_sinhc(0.5 * logit.abs())


def continuous_bernoulli_log_tails(value: torch.Tensor, logit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log P(X ≤ value) and log P(X > value), the smaller one by its own integral, and where 0 < value < 1, elementwise."""
    inside, logit = (value > 0) & (value < 1), logit.double()
    safe = torch.where(inside, value, 0.5).double()
    below = continuous_bernoulli_log_below(safe, 1 - safe, logit)
    above = continuous_bernoulli_log_below(1 - safe, safe, -logit)
    low = below < above
    small = torch.where(low, below, above)
    large = log_1_minus_exp(-small)
    return torch.where(low, small, large).to(value.dtype), torch.where(low, large, small).to(value.dtype), inside


def continuous_bernoulli_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """From the mean of elements (N, *event): m = 2 mean - 1 is coth x - 1 / x for log-odds 2 x, whose inverse is about
    m (3 - m²) / (1 - m²) (Cohen 1991). nan where the probability is 0 or 1 to all digits."""
    m = 2 * value.mean(0) - 1
    probs = torch.sigmoid(2 * m * (3 - m.square()) / (1 - m.square()))
    return (probs.masked_fill((probs == 0) | (probs == 1), torch.nan),)


def continuous_bernoulli_log_cdf(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(X ≤ value), elementwise; -inf at and below 0, 0 from 1 on."""
    below, _, inside = continuous_bernoulli_log_tails(value, logit)
    return torch.where(inside, below, torch.where(value >= 1, 0.0, -torch.inf).to(value.dtype))


def continuous_bernoulli_log_survival(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(X > value), elementwise; 0 at and below 0, -inf from 1 on."""
    _, above, inside = continuous_bernoulli_log_tails(value, logit)
    return torch.where(inside, above, torch.where(value <= 0, 0.0, -torch.inf).to(value.dtype))


ENTRY = Distribution(
    name="ContinuousBernoulli",
    params={"probs": "unit"},
    forms={"probs": "logit"},
    support="unit",
    has_rsample=True,
    torch_class="ContinuousBernoulli",
    kernel=continuous_bernoulli_log_prob,
    log_cdf=continuous_bernoulli_log_cdf,
    log_survival=continuous_bernoulli_log_survival,
    start=continuous_bernoulli_start,
    examples=({"probs": 0.3}, {"probs": 0.502}, {"probs": 0.95}),
)
