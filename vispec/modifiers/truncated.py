"""Truncated(law, low, high): a law given that its value lies between the bounds, these included."""

from __future__ import annotations

from vispec.catalog import Modifier
from vispec.lazy import kernel, torch

log_mass_between = kernel("vispec.kernels.tails.mass", "log_mass_between")
draw_between = kernel("vispec.kernels.tails.mass", "draw_between")


def truncated_log_prob(
    value: torch.Tensor,
    law: tuple,
    *params: torch.Tensor,
    low: torch.Tensor | None = None,
    high: torch.Tensor | None = None,
    whole: bool = False,
) -> torch.Tensor:
    """log p(value) - log P(low ≤ X ≤ high), elementwise; -inf outside, and where nothing lies between the bounds.

    law: log_prob, log_cdf and log_survival of the law inside, with its params; whole: its values are whole numbers."""
    inner = value
    if low is not None:
        inner = torch.where(value < low, low, inner)
    if high is not None:
        inner = torch.where(value > high, high, inner)
    mass = log_mass_between(law, low, high, whole, *params)
    possible = (inner == value) & (mass > -torch.inf)
    found = law[0](inner, *params) - mass.masked_fill(mass == -torch.inf, 0.0)
    return torch.where(possible, found, -torch.inf).to(value.dtype)


def truncated_sample(
    law: tuple,
    *params: torch.Tensor,
    low: torch.Tensor | None = None,
    high: torch.Tensor | None = None,
    whole: bool = False,
) -> torch.Tensor:
    """A draw of the params' shape, without a gradient."""
    return draw_between(law, low, high, whole, *params)


ENTRY = Modifier(
    name="Truncated",
    kernel=truncated_log_prob,
    sampler=truncated_sample,
    ends=True,
)
