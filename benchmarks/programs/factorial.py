"""A factorial hidden Markov model: two chains a and b of K states, x_t ~ Normal(mean_a[a_t] + mean_b[b_t], σ²)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.programs.hmm import ForwardBackward
from benchmarks.workload import Tensors, Workload

LOG_2PI = math.log(2 * math.pi)


def workload(rows: int, steps: int, states: int, dims: int) -> Workload:
    g = torch.Generator().manual_seed(0)
    parameters = {f"raw_first_{c}": torch.randn(states, generator=g) for c in "ab"}
    parameters |= {f"raw_move_{c}": 1.5 * torch.randn(states, states, generator=g) for c in "ab"}
    parameters |= {f"mean_{c}": torch.randn(states, dims, generator=g) for c in "ab"}
    parameters |= {"raw_sigma": 0.5 + 0.1 * torch.randn(dims, generator=g)}
    batch = {"x": 1.5 * torch.randn(rows, steps, dims, generator=g), "x_len": torch.full((rows,), steps)}
    programs = {"hand": hand, "expert": expert}
    return Workload("factorial.vispec", {"K": states, "D": dims}, parameters, batch, reference, programs)


def reference(p: Tensors, batch: Tensors) -> Tensor:
    """In log space, over pairs of states."""
    law = torch.distributions.Normal(p["mean_a"][:, None] + p["mean_b"], F.softplus(p["raw_sigma"]))
    seen = law.log_prob(batch["x"].transpose(0, 1)[:, :, None, None]).sum(-1)  # (T, B, K, K)
    move = p["raw_move_a"].log_softmax(1)[:, None, :, None] + p["raw_move_b"].log_softmax(1)[None, :, None, :]
    alpha = p["raw_first_a"].log_softmax(0)[:, None] + p["raw_first_b"].log_softmax(0) + seen[0]
    for now in seen[1:].unbind(0):
        alpha = torch.logsumexp(alpha[:, :, :, None, None] + move, (1, 2)) + now
    return alpha.logsumexp((1, 2)).sum()


def emissions(p: Tensors, x: Tensor) -> Tensor:
    """log N(x; mean_a[a] + mean_b[b], σ²) (T, B, K²) of x (B, T, D), by one product."""
    sigma = F.softplus(p["raw_sigma"])
    mean = ((p["mean_a"][:, None] + p["mean_b"]) / sigma).flatten(0, 1)
    x = x.transpose(0, 1) / sigma
    const = sigma.log().sum() + 0.5 * LOG_2PI * len(sigma)
    return x @ mean.T - 0.5 * mean.square().sum(1) - 0.5 * x.square().sum(2, keepdim=True) - const


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """The forward recursion with weights scaled at each step; the two chains are eliminated one after the other."""
    seen, states = emissions(p, batch["x"]), len(p["mean_a"])
    top = seen.detach().amax(2, keepdim=True)
    seen = (seen - top).clamp(min=-80).exp().unflatten(2, (states, states))
    move_a, move_b, totals = p["raw_move_a"].softmax(1).T, p["raw_move_b"].softmax(1), []
    alpha = p["raw_first_a"].softmax(0)[:, None] * p["raw_first_b"].softmax(0) * seen[0]
    for now in seen[1:].unbind(0):
        totals.append(alpha.sum((1, 2), keepdim=True))
        alpha = move_a @ ((alpha / totals[-1]) @ move_b) * now
    return torch.cat([*totals, alpha.sum((1, 2), keepdim=True)]).log().sum() + top.sum()


def expert(p: Tensors, batch: Tensors) -> Tensor:
    """One chain of K² states, its forward-backward algorithm written out."""
    seen = emissions(p, batch["x"])
    top = seen.detach().amax(2, keepdim=True)
    seen = seen.sub_(top).clamp_(min=-80).exp_()
    first = torch.kron(p["raw_first_a"].softmax(0), p["raw_first_b"].softmax(0))
    move = torch.kron(p["raw_move_a"].softmax(1), p["raw_move_b"].softmax(1))
    return ForwardBackward.apply(first, move, seen) + top.sum()
