"""Kumaraswamy(concentration1, concentration0) on the unit interval: like a Beta, with a closed distribution function."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp = kernel("vispec.kernels.probability", "log_1_minus_exp")


def kumaraswamy_log_prob(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log a b + (a - 1) log v + (b - 1) log(1 - v^a) for concentrations a, b, elementwise; -inf outside (0, 1)."""
    inside = (value > 0) & (value < 1)
    log, a, b = torch.where(inside, value, 0.5).double().log(), concentration1.double(), concentration0.double()
    density = (a * b).log() + (a - 1) * log + (b - 1) * log_1_minus_exp(-a * log)
    return density.to(value.dtype).masked_fill(~inside, -torch.inf)


ENTRY = Distribution(
    name="Kumaraswamy",
    params={"concentration1": "positive", "concentration0": "positive"},
    support="unit",
    everywhere=False,
    has_rsample=True,
    torch_class="Kumaraswamy",
    kernel=kumaraswamy_log_prob,
    examples=({"concentration1": 2.0, "concentration0": 3.0},),
)
