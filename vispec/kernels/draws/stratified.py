"""Exact over a guide's likely values, sampled over the rest (Liu et al. 2019): unbiased, and without the score's variance where
the guide is sure of a few values.

    E_q[f] = Σ_{top} q(k) f(k) + q(rest) E_{q(k | rest)}[f(k)]
"""

import torch
from torch import Tensor

from vispec.kernels.sums.logsum import gradient_alone


def top_and_draws(log_q: Tensor, top: int, samples: int) -> tuple[Tensor, Tensor]:
    """Values (top + samples, B) of a latent with guide log_q (B, K), and their weights in the sum, which sum to 1.

    The weights of sampled values have the gradient of log q, so that Σ weight · f has the gradient of E_q[f]."""
    top = min(top, log_q.shape[-1])
    likely = log_q.detach().topk(top).indices  # (B, top)
    rest = log_q.detach().scatter(-1, likely, -torch.inf)
    mass = rest.exp().sum(-1, keepdim=True)  # (B, 1)
    empty = mass == 0
    chances = torch.where(empty, torch.ones_like(rest), rest.exp())
    drawn = torch.where(empty, likely[:, :1], torch.multinomial(chances, samples, replacement=True))
    share = mass / samples * gradient_alone(log_q.gather(-1, drawn)).exp()
    values, weight = torch.cat([likely, drawn], -1), torch.cat([log_q.gather(-1, likely).exp(), share], -1)
    return values.T, weight.T


def stratified_bound(log_weight: Tensor, weight: Tensor) -> Tensor:
    """Σ_s weight_s log_weight_s over samples, (S, B) both → (B,); what has no weight counts nothing."""
    return (weight * torch.where(weight > 0, log_weight, 0.0)).sum(0)
