"""A mixture of diagonal Gaussians: log p(x) = Σ_n log Σ_k π_k Π_d N(x_nd; μ_kd, σ_kd²)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.workload import Tensors, Workload

LOG_2PI = math.log(2 * math.pi)


def workload(rows: int, dims: int, components: int) -> Workload:
    g = torch.Generator().manual_seed(0)
    mu = 2 * torch.randn(components, dims, generator=g)
    parameters = {
        "raw_pi": torch.randn(components, generator=g),
        "mu": mu + 0.3 * torch.randn(components, dims, generator=g),
        "raw_sigma": 0.5 + 0.2 * torch.randn(components, dims, generator=g),
    }
    x = mu[torch.randint(components, (rows,), generator=g)] + torch.randn(rows, dims, generator=g)
    programs = {"library": library, "hand": hand, "expert": expert}
    return Workload("mixture.vispec", {"K": components, "D": dims}, parameters, {"x": x}, reference, programs)


def reference(p: Tensors, batch: Tensors) -> Tensor:
    """Component by component."""
    sigma, log_pi = F.softplus(p["raw_sigma"]), p["raw_pi"].log_softmax(0)
    laws = [torch.distributions.Normal(loc, scale) for loc, scale in zip(p["mu"], sigma, strict=True)]
    joint = [log + law.log_prob(batch["x"]).sum(1) for log, law in zip(log_pi, laws, strict=True)]
    return torch.stack(joint, 1).logsumexp(1).sum()


def library(p: Tensors, batch: Tensors) -> Tensor:
    """What torch.distributions offers."""
    law = torch.distributions
    components = law.Independent(law.Normal(p["mu"], F.softplus(p["raw_sigma"])), 1)
    return law.MixtureSameFamily(law.Categorical(logits=p["raw_pi"]), components).log_prob(batch["x"]).sum()


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """The squares multiplied out: two products of matrices, no (N, K, D) tensor."""
    mu, sigma, x = p["mu"], F.softplus(p["raw_sigma"]), batch["x"]
    precision = sigma**-2
    const = -0.5 * (mu * mu * precision).sum(1) - sigma.log().sum(1) - 0.5 * LOG_2PI * mu.shape[1]
    log_x = const + x @ (mu * precision).T - 0.5 * (x * x) @ precision.T  # (N, K)
    return (p["raw_pi"].log_softmax(0) + log_x).logsumexp(1).sum()


class LogMix(torch.autograd.Function):
    """Σ_n log Σ_k exp(bias_k + t_n · weight_k) for t (N, S): the responsibilities, made in place, are the gradient."""

    @staticmethod
    def forward(ctx, bias, weight, t):
        r = torch.addmm(bias, t, weight.T)  # (N, K)
        top = r.amax(1, keepdim=True)
        total = r.sub_(top).clamp_(min=-80).exp_().sum(1, keepdim=True)
        r.div_(total)
        ctx.save_for_backward(r, t)
        return total.log_().add_(top).sum()

    @staticmethod
    def backward(ctx, grad):
        r, t = ctx.saved_tensors
        return grad * r.sum(0), grad * (r.T @ t), None


def expert(p: Tensors, batch: Tensors) -> Tensor:
    """All log-densities are one matrix product of the natural parameters with x and x²; no (N, K, D) tensor."""
    mu, sigma, x = p["mu"], F.softplus(p["raw_sigma"]), batch["x"]
    precision = 1 / (sigma * sigma)
    linear = mu * precision
    bias = p["raw_pi"].log_softmax(0) - (0.5 * mu * linear + sigma.log()).sum(1) - 0.5 * LOG_2PI * mu.shape[1]
    return LogMix.apply(bias, torch.cat([linear, -0.5 * precision], 1), torch.cat([x, x * x], 1))
