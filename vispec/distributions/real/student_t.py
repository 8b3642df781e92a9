"""StudentT(df, loc, scale) on the real line, with df degrees of freedom."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_half_step = kernel("vispec.kernels.half_step", "log_half_step")


def student_t_log_prob(value: torch.Tensor, df: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """-(df + 1) / 2 log(1 + z² / df) - log scale - log(2π) / 2 + log Γ((df + 1) / 2) / Γ(df / 2) (df / 2)^½, elementwise."""
    half, scale = 0.5 * df.double(), scale.double()
    square = ((value.double() - loc.double()) / scale).square()
    tail = (half + 0.5) * torch.log1p(0.5 * square / half)
    return (log_half_step(half) - tail - scale.log() - 0.9189385332046727).to(value.dtype)  # log(2π) / 2


ENTRY = Distribution(
    name="StudentT",
    params={"df": "positive", "loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="StudentT",
    kernel=student_t_log_prob,
    examples=({"df": 3.5, "loc": 0.5, "scale": 2.0},),
)
