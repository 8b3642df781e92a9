"""HardKumaraswamy(concentration1, concentration0) on [0, 1] with masses at both ends (Bastings, Aziz and Titov 2019).

A Kumaraswamy k is stretched to (-0.1, 1.1), t = 1.2 k - 0.1, and cut off at 0 and 1: a gate that is exactly shut or open with
positive probability, and still a smooth function of noise almost everywhere.
"""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp = kernel("vispec.kernels.probability", "log_1_minus_exp")


def hard_kumaraswamy_log_ends(concentration1: torch.Tensor, concentration0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log P(0) = log F(1/12) and log P(1) = log (1 - F(11/12)), F(k) = 1 - (1 - k^a)^b for concentrations a, b."""
    log_above_1 = concentration0 * log_1_minus_exp(0.0870113769896297 * concentration1)  # b log(1 - (11/12)^a)
    x = 2.4849066497880004 * concentration1  # -log (1/12)^a
    far = x > 40  # 1 - (1 - exp(-x))^b is b exp(-x) to the last digit
    near = log_1_minus_exp(-concentration0 * log_1_minus_exp(torch.where(far, 1.0, x)))
    return torch.where(far, concentration0.log() - x, near), log_above_1


def hard_kumaraswamy_log_prob(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """The log-mass at 0 and at 1, the log-density between them, -inf elsewhere; elementwise, for concentrations a, b."""
    inside, a, b = (value > 0) & (value < 1), concentration1.double(), concentration0.double()
    log = torch.log((torch.where(inside, value, 0.5).double() + 0.1) / 1.2)
    density = (a * b).log() + (a - 1) * log + (b - 1) * log_1_minus_exp(-a * log)
    shut, open_ = hard_kumaraswamy_log_ends(a, b)
    ends = torch.where(value == 0, shut, torch.where(value == 1, open_, -torch.inf))
    return torch.where(inside, density - 0.1823215567939546, ends).to(value.dtype)  # log 1.2


def hard_kumaraswamy_sample(concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """A draw of the parameters' shape, with a gradient: of k = (1 - u^(1/b))^(1/a) where it is between the ends, 0 at them."""
    noise = torch.empty_like(concentration1 + concentration0)
    noise.uniform_(torch.finfo(noise.dtype).tiny, 1)
    k = torch.exp(log_1_minus_exp(-noise.log() / concentration0) / concentration1)
    return (1.2 * k - 0.1).clamp(0, 1)


ENTRY = Distribution(
    name="HardKumaraswamy",
    params={"concentration1": "positive", "concentration0": "positive"},
    support="unit",
    has_rsample=True,
    kernel=hard_kumaraswamy_log_prob,
    sampler=hard_kumaraswamy_sample,
    atoms=(0.0, 1.0),
    examples=(
        {"concentration1": 2.0, "concentration0": 3.0},
        {"concentration1": 0.3, "concentration0": 0.5},
    ),
)
