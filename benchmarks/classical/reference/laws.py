"""Log-densities and log-masses, by their textbook formulas."""

import math

import torch
from torch import Tensor


def normal(x: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    return -0.5 * ((x - mean) / sd) ** 2 - sd.log() - 0.5 * math.log(2 * math.pi)


def poisson(x: Tensor, log_rate: Tensor) -> Tensor:
    return x * log_rate - log_rate.exp() - torch.lgamma(x + 1)


def gamma(x: Tensor, shape: Tensor, rate: Tensor) -> Tensor:
    return shape * rate.log() + (shape - 1) * x.log() - rate * x - torch.lgamma(shape)


def bernoulli(x: Tensor, p: Tensor) -> Tensor:
    return torch.special.xlogy(x, p) + torch.special.xlogy(1 - x, 1 - p)


def logistic(x: Tensor, eta: Tensor) -> Tensor:
    """Of a bit, by its log-odds."""
    return -torch.nn.functional.softplus(torch.where(x == 1, -eta, eta))


def choose(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def mixed(pi: Tensor, parts: Tensor) -> Tensor:
    """Sum over rows of log Σ_k pi_k exp(parts), parts (n, K)."""
    return torch.logsumexp(pi.log() + parts, -1).sum()


def chain(start: Tensor, moves: Tensor, seen: Tensor) -> Tensor:
    """log p of a hidden Markov chain: start (K,) and moves (K, K) in probabilities, seen (T, K) or, where an element's law
    reads the state before it too, (T, K, K) from × to, of which the first row of the first counts. Neighbouring steps are
    multiplied in pairs, then the products, until one is left."""
    pairs = seen if seen.dim() == 3 else seen.unsqueeze(1).expand(-1, len(start), -1)
    steps = moves.log() + pairs[1:]
    while len(steps) > 1:
        even = len(steps) // 2 * 2
        product = torch.logsumexp(steps[0:even:2].unsqueeze(-1) + steps[1:even:2].unsqueeze(-3), -2)
        steps = torch.cat([product, steps[even:]])
    return torch.logsumexp((start.log() + pairs[0, 0])[:, None] + steps[0], (0, 1))
