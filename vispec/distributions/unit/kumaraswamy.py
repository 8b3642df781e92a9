"""Kumaraswamy(concentration1, concentration0) on the unit interval: like a Beta, with a closed distribution function."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_1_minus_exp_of = kernel("vispec.kernels.probability", "log_1_minus_exp_of")
log_1_minus_exp = kernel("vispec.kernels.probability", "log_1_minus_exp")


def kumaraswamy_log_prob(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log a b + (a - 1) log v + (b - 1) log(1 - v^a) for concentrations a, b, elementwise; -inf outside (0, 1)."""
    inside = (value > 0) & (value < 1)
    log, a, b = torch.where(inside, value, 0.5).double().log(), concentration1.double(), concentration0.double()
    density = (a * b).log() + (a - 1) * log + (b - 1) * log_1_minus_exp(-a * log)
    return density.to(value.dtype).masked_fill(~inside, -torch.inf)


def kumaraswamy_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest of some first concentrations a for elements (N, *event), each with its likeliest second one,
    b = -1 / mean log(1 - value^a)."""
    log = value.log()
    found = []
    for power in range(-6, 11):
        a = 2 ** (power / 2)
        b = -1 / torch.log(-torch.expm1(a * log)).mean(0)
        found.append((a * torch.ones_like(b), b, b.log() + (a - 1) * log.mean(0) + 1 / b + torch.tensor(a).log()))
    a, b, fit = (torch.stack(each) for each in zip(*found, strict=True))
    best = fit.nan_to_num(nan=-torch.inf).argmax(0, keepdim=True)
    return a.gather(0, best)[0], b.gather(0, best)[0]


def kumaraswamy_log_cdf(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """log(1 - (1 - v^a)^b) for concentrations a, b, elementwise; -inf at and below 0, 0 from 1 on."""
    inside = (value > 0) & (value < 1)
    log, a, b = torch.where(inside, value, 0.5).double().log(), concentration1.double(), concentration0.double()
    x = -a * log
    far = x > 40  # -log(1 - exp(-x)) is exp(-x) to the last digit
    hazard = b.log() + torch.where(far, -x, (-log_1_minus_exp(torch.where(far, 1.0, x))).log())
    return torch.where(inside, log_1_minus_exp_of(hazard).to(value.dtype), torch.where(value >= 1, 0.0, -torch.inf))


def kumaraswamy_log_survival(value: torch.Tensor, concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """b log(1 - v^a) for concentrations a, b, elementwise; 0 at and below 0, -inf from 1 on."""
    inside = (value > 0) & (value < 1)
    log, a, b = torch.where(inside, value, 0.5).double().log(), concentration1.double(), concentration0.double()
    return torch.where(inside, (b * log_1_minus_exp(-a * log)).to(value.dtype), torch.where(value <= 0, 0.0, -torch.inf))


ENTRY = Distribution(
    name="Kumaraswamy",
    params={"concentration1": "positive", "concentration0": "positive"},
    support="unit",
    everywhere=False,
    has_rsample=True,
    torch_class="Kumaraswamy",
    kernel=kumaraswamy_log_prob,
    log_cdf=kumaraswamy_log_cdf,
    log_survival=kumaraswamy_log_survival,
    start=kumaraswamy_start,
    examples=({"concentration1": 2.0, "concentration0": 3.0},),
)
