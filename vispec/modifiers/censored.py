"""Censored(law, low, high): a value at or beyond a bound stands for all that is there. P(X ≤ low) at or below low, P(X ≥ high)
at or above high, the law's own density between them."""

from __future__ import annotations

from vispec.catalog import Modifier
from vispec.lazy import kernel, torch

log_mass_below = kernel("vispec.kernels.tails.mass", "log_mass_below")
log_mass_above = kernel("vispec.kernels.tails.mass", "log_mass_above")
draw_between = kernel("vispec.kernels.tails.mass", "draw_between")


def censored_log_prob(
    value: torch.Tensor,
    law: tuple,
    *params: torch.Tensor,
    low: torch.Tensor | None = None,
    high: torch.Tensor | None = None,
    whole: bool = False,
) -> torch.Tensor:
    """log-density of the value, or the mass at and beyond a bound, elementwise; -inf where low is not below high.

    law: log_prob, log_cdf and log_survival of the law inside, with its params; whole: its values are whole numbers."""
    inner = value
    if low is not None:
        inner = torch.where(value <= low, low, inner)
    if high is not None:
        inner = torch.where(value >= high, high, inner)
    found = law[0](inner, *params)
    if low is not None:
        found = torch.where(value <= low, log_mass_below(law, low, whole, *params), found)
    if high is not None:
        found = torch.where(value >= high, log_mass_above(law, high, whole, *params), found)
    if low is not None and high is not None:
        found = torch.where(low < high, found, -torch.inf)
    return found.to(value.dtype)


def censored_sample(
    law: tuple,
    *params: torch.Tensor,
    low: torch.Tensor | None = None,
    high: torch.Tensor | None = None,
    whole: bool = False,
) -> torch.Tensor:
    """A draw of the law inside, of the params' shape, moved to the bound that it is beyond; without a gradient."""
    return draw_between(law, None, None, whole, *params).clamp(low, high)


ENTRY = Modifier(
    name="Censored",
    kernel=censored_log_prob,
    sampler=censored_sample,
    masses=True,
)
