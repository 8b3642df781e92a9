"""StudentT(df, loc, scale) on the real line, with df degrees of freedom."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

beta_tails = kernel("vispec.kernels.tails.incomplete_beta", "beta_tails")
log_half_step = kernel("vispec.kernels.half_step", "log_half_step")


def student_t_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Degrees of freedom, location and scale of elements (N, *event); where all are equal, df and scale are nan.

    df from the excess kurtosis, which is 6 / (df - 4) where there is one; the scale from the quartiles, which are 0.73 apart
    from the median at 5 degrees of freedom and between 0.67 and 0.82 from 2 on."""
    n = len(value)
    low, loc, high = value.sort(0).values[[n // 4, n // 2, 3 * n // 4]]
    error = value - value.mean(0)
    excess = error.pow(4).mean(0) / error.square().mean(0).square() - 3
    scale = torch.where(high > low, (high - low) / 1.46, (value - value[:1]).std(0, correction=0))
    same = scale == 0
    df = 4 + 6 / excess.clamp(min=0.2)  # up to 34: more can hardly be told from a Normal
    return df.masked_fill(same, torch.nan), loc, scale.masked_fill(same, torch.nan)


def student_t_log_prob(value: torch.Tensor, df: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """-(df + 1) / 2 log(1 + z² / df) - log scale - log(2π) / 2 + log Γ((df + 1) / 2) / Γ(df / 2) (df / 2)^½, elementwise."""
    half, scale = 0.5 * df.double(), scale.double()
    square = ((value.double() - loc.double()) / scale).square()
    tail = (half + 0.5) * torch.log1p(0.5 * square / half)
    return (log_half_step(half) - tail - scale.log() - 0.9189385332046727).to(value.dtype)  # log(2π) / 2


def student_t_log_cdf(value: torch.Tensor, df: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log P(X ≤ value), elementwise, by symmetry."""
    return student_t_log_survival(-value, df, -loc, scale)


def student_t_log_survival(value: torch.Tensor, df: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log P(X > value), elementwise: half the mass of Beta(df / 2, ½) up to df / (df + z²), z = (value - loc) / scale."""
    df, z = df.double(), (value.double() - loc.double()) / scale.double()
    middle = z.abs() < 1e-100
    square = torch.where(middle, 1.0, z).square()
    logs = -torch.log1p(square / df), -torch.log1p(df / square)
    outside = beta_tails(0.5 * df, torch.full_like(z, 0.5), *logs)[0] - 0.6931471805599453  # log 2
    found = torch.where(z > 0, outside, torch.log1p(-outside.exp()))
    at_0 = -0.6931471805599453 - 2 * z * torch.exp(log_half_step(0.5 * df) - 0.9189385332046727)  # log(2π) / 2
    return torch.where(middle, at_0, found).to(value.dtype)


ENTRY = Distribution(
    name="StudentT",
    params={"df": "positive", "loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="StudentT",
    start=student_t_start,
    kernel=student_t_log_prob,
    log_cdf=student_t_log_cdf,
    log_survival=student_t_log_survival,
    examples=({"df": 3.5, "loc": 0.5, "scale": 2.0},),
)
