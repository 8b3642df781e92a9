"""VonMises(loc, concentration) on angles, in radians; values that differ by 2π are the same."""

from __future__ import annotations

from math import pi

from vispec.catalog import Distribution
from vispec.lazy import torch


def von_mises_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Direction of the mean vector of elements (N, *event), and the concentration that gives its length r, about
    r (2 - r²) / (1 - r²) (Banerjee et al. 2005), with r drawn towards 0 as by one more element."""
    x, y = value.cos().mean(0), value.sin().mean(0)
    r = torch.hypot(x, y) * len(value) / (len(value) + 1)
    return torch.atan2(y, x), r * (2 - r.square()) / (1 - r.square())


def von_mises_log_prob(value: torch.Tensor, loc: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """κ cos(value - loc) - log 2π I₀(κ) for concentration κ, elementwise: -2κ sin²((value - loc) / 2) - log 2π e^-κ I₀(κ)."""
    k = concentration.double()
    chord = torch.sin(0.5 * (value.double() - loc.double()))
    return (-2 * k * chord.square() - torch.special.i0e(k).log() - 1.8378770664093453).to(value.dtype)  # log 2π


ENTRY = Distribution(
    name="VonMises",
    params={"loc": "real", "concentration": "positive"},
    support="real",
    turn=2 * pi,
    torch_class="VonMises",
    start=von_mises_start,
    kernel=von_mises_log_prob,
    examples=({"loc": 0.5, "concentration": 2.0},),
)
