"""Multinomial(total_count, probs) on vectors of counts that sum to total_count."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def multinomial_log_prob(value: torch.Tensor, total_count: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """log n! / Π value! + Σ value log p (*B) for value and log_probs (*B, K); -inf where value does not sum to n.

    log_probs in float64."""
    count, total_count = value.clamp(min=0).double(), total_count.double()
    inside = (value >= 0).all(-1) & (count.sum(-1) == total_count)
    terms = count * torch.where(count > 0, log_probs, 0.0)  # 0 · -inf would be NaN
    density = torch.lgamma(total_count + 1) - torch.lgamma(count + 1).sum(-1) + terms.sum(-1)
    return torch.where(inside, density.to(value.dtype), -torch.inf)


def multinomial_sample(total_count: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    """One draw (*B, K) for total_count (*B) and probs (*B, K): each category takes a binomial share of what is left."""
    lead = torch.broadcast_shapes(total_count.shape, probs.shape[:-1])
    left, counts = total_count.expand(lead), []
    rest = probs.flip(-1).cumsum(-1).flip(-1)  # what this category and those after it have
    share = torch.where(rest > 0, probs / rest, 0.0).clamp(max=1).expand(*lead, -1)
    for p in share.unbind(-1)[:-1]:
        counts.append(torch.binomial(left, p))
        left = left - counts[-1]
    return torch.stack([*counts, left], -1)


def multinomial_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Frequencies (K) in elements (N, K), with one more of each kind; behind the mean number of tries."""
    count = value.sum(0)
    return value.sum(-1).mean(), (count + 1) / (count.sum() + len(count))


ENTRY = Distribution(
    name="Multinomial",
    params={"total_count": "count", "probs": "simplex"},
    param_event_dim={"total_count": 0},
    forms={"probs": "log"},
    wide=("probs",),
    support="count",
    everywhere=False,
    event_dim=1,
    kernel=multinomial_log_prob,
    sampler=multinomial_sample,
    start=multinomial_start,
    examples=({"total_count": 3.0, "probs": [0.2, 0.5, 0.3]}, {"total_count": 2.0, "probs": [0.4, 0.0, 0.6]}),
)
