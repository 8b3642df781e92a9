"""Gamma(concentration, rate) on the positive reals; its mean is concentration / rate."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_poisson = kernel("vispec.kernels.poisson", "log_poisson")


def gamma_log_prob(value: torch.Tensor, concentration: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log Gamma(value; concentration, rate), elementwise; -inf at and below 0."""
    inside = value > 0
    positive, shape = torch.where(inside, value, 1.0).double(), concentration.double()
    found = log_poisson(shape, rate.double() * positive) + (shape / positive).log()
    return found.to(value.dtype).masked_fill(~inside, -torch.inf)


ENTRY = Distribution(
    name="Gamma",
    params={"concentration": "positive", "rate": "positive"},
    support="positive",
    has_rsample=True,
    torch_class="Gamma",
    kernel=gamma_log_prob,
    examples=({"concentration": 2.0, "rate": 0.5}, {"concentration": 1.5, "rate": 6.0}),
)
