"""VonMises(loc, concentration) on angles, in radians; values that differ by 2π are the same."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def von_mises_log_prob(value: torch.Tensor, loc: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """κ cos(value - loc) - log 2π I₀(κ) for concentration κ, elementwise: -2κ sin²((value - loc) / 2) - log 2π e^-κ I₀(κ)."""
    k = concentration.double()
    chord = torch.sin(0.5 * (value.double() - loc.double()))
    return (-2 * k * chord.square() - torch.special.i0e(k).log() - 1.8378770664093453).to(value.dtype)  # log 2π


ENTRY = Distribution(
    name="VonMises",
    params={"loc": "real", "concentration": "positive"},
    support="real",
    torch_class="VonMises",
    kernel=von_mises_log_prob,
    examples=({"loc": 0.5, "concentration": 2.0},),
)
