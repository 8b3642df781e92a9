"""Pareto(scale, alpha) on the reals from `scale` up."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp = kernel("vispec.kernels.probability", "log_1_minus_exp")


def pareto_log_prob(value: torch.Tensor, scale: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """log alpha - alpha log(value / scale) - log value, elementwise; -inf below scale."""
    inside = value >= scale
    above, scale, alpha = torch.where(inside, value, scale).double(), scale.double(), alpha.double()
    density = (alpha / above).log() - alpha * (above / scale).log()
    return density.to(value.dtype).masked_fill(~inside, -torch.inf)


def pareto_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale below the least of elements (N, *event) and, but for a chance of exp(-10), below those not among these; alpha is
    1 over the mean of log (value / scale)."""
    low = value.amin(0)
    spread = (value / low).log().mean(0) + 1 / len(value) ** 2
    scale = low * torch.exp(-10 * spread / len(value))
    return scale, 1 / (value / scale).log().mean(0)


def pareto_log_cdf(value: torch.Tensor, scale: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """log(1 - (scale / value)^alpha), elementwise; -inf at and below scale."""
    inside = value > scale
    above, least, alpha = torch.where(inside, value, 2 * scale).double(), scale.double(), alpha.double()
    x = alpha * torch.log1p((above - least) / least)
    return torch.where(inside, log_1_minus_exp(x).to(value.dtype), -torch.inf)


def pareto_log_survival(value: torch.Tensor, scale: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """-alpha log(value / scale), elementwise; 0 at and below scale."""
    inside = value > scale
    above, least, alpha = torch.where(inside, value, 2 * scale).double(), scale.double(), alpha.double()
    x = alpha * torch.log1p((above - least) / least)
    return torch.where(inside, (-x).to(value.dtype), 0.0)


ENTRY = Distribution(
    name="Pareto",
    params={"scale": "positive", "alpha": "positive"},
    support="positive",
    everywhere=False,
    bounds=("scale", None),
    has_rsample=True,
    torch_class="Pareto",
    kernel=pareto_log_prob,
    log_cdf=pareto_log_cdf,
    log_survival=pareto_log_survival,
    start=pareto_start,
    examples=({"scale": 1.5, "alpha": 3.0},),
)
