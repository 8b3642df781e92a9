"""Beta(concentration1, concentration0) on the unit interval; its mean is concentration1 / (concentration1 + concentration0)."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_poisson = kernel("vispec.kernels.poisson", "log_poisson")
stirling_remainder = kernel("vispec.kernels.poisson", "stirling_remainder")


def beta_log_prob(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log Beta(value; concentration1, concentration0), elementwise; -inf outside the open interval (0, 1)."""
    inside = (value > 0) & (value < 1)
    x, a, b = torch.where(inside, value, 0.5).double(), concentration1.double(), concentration0.double()
    rest, total = 1 - x, a + b
    found = (
        log_poisson(a, total * x)
        + log_poisson(b, total * rest)
        + stirling_remainder(total)
        + (a * b / (total * x * rest)).log()
    )
    return found.to(value.dtype).masked_fill(~inside, -torch.inf)


ENTRY = Distribution(
    name="Beta",
    params={"concentration1": "positive", "concentration0": "positive"},
    support="unit",
    everywhere=False,
    has_rsample=True,
    torch_class="Beta",
    kernel=beta_log_prob,
    examples=({"concentration1": 2.0, "concentration0": 3.0}, {"concentration1": 1.5, "concentration0": 1.0}),
)
