"""A variational autoencoder: Σ_n E_q[log p(x_n | z)] - KL(q(z | x_n) ‖ N(0, 1)), one draw of z for each row."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.workload import Tensors, Workload

SAMPLES = 10


def workload(rows: int, pixels: int, hidden: int, code: int) -> Workload:
    g = torch.Generator().manual_seed(0)
    shapes = {
        "decode.mlp.0": (hidden, code),
        "decode.out": (pixels, hidden),
        "encode.mlp.0": (hidden, pixels),
        "encode.out": (2 * code, hidden),
    }
    parameters = {f"{k}.weight": torch.randn(s, generator=g) / math.sqrt(s[1]) for k, s in shapes.items()}
    parameters |= {f"{k}.bias": 0.1 * torch.randn(s[0], generator=g) for k, s in shapes.items()}
    x = (torch.rand(rows, pixels, generator=g) < 0.2).float()
    return Workload("vae.vispec", {"Z": code}, parameters, {"x": x}, reference, {"hand": hand, "expert": expert})


def layer(p: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def reference(p: Tensors, batch: Tensors) -> Tensor:
    """By torch.distributions, row by row of the definition."""
    x, law = batch["x"], torch.distributions
    loc, raw = layer(p, "encode.out", layer(p, "encode.mlp.0", x).relu()).chunk(2, 1)
    q = law.Normal(loc, F.softplus(raw))
    z = q.loc + q.scale * torch.randn(q.loc.shape).to(q.loc)
    logits = layer(p, "decode.out", layer(p, "decode.mlp.0", z).relu())
    kl = law.kl_divergence(q, law.Normal(torch.zeros_like(loc), torch.ones_like(loc)))
    return law.Bernoulli(logits=logits).log_prob(x).sum() - kl.sum()


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """The usual script."""
    x = batch["x"]
    loc, raw = layer(p, "encode.out", torch.relu(layer(p, "encode.mlp.0", x))).chunk(2, 1)
    scale = F.softplus(raw)
    z = loc + scale * torch.randn_like(scale)
    logits = layer(p, "decode.out", torch.relu(layer(p, "decode.mlp.0", z)))
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = 0.5 * (loc.square() + scale.square() - 2 * scale.log() - 1).sum()
    return -(reconstruction + kl)


class Reconstruction(torch.autograd.Function):
    """Σ log Bernoulli(x; logits), (N, D) each; the gradient x - sigmoid(logits) is made in the forward pass."""

    @staticmethod
    def forward(ctx, logits, x):
        total = torch.dot(logits.view(-1), x.view(-1)) - F.softplus(logits).sum()
        ctx.save_for_backward(torch.sub(x, logits.sigmoid()))
        return total

    @staticmethod
    def backward(ctx, grad):
        (by_logits,) = ctx.saved_tensors
        return by_logits.mul_(grad), None


def expert(p: Tensors, batch: Tensors) -> Tensor:
    """The script with activations in place and the reconstruction's gradient finished in the forward pass."""
    x = batch["x"]
    loc, raw = layer(p, "encode.out", layer(p, "encode.mlp.0", x).relu_()).chunk(2, 1)
    scale = F.softplus(raw)
    z = torch.addcmul(loc, scale, torch.randn_like(scale))
    logits = layer(p, "decode.out", layer(p, "decode.mlp.0", z).relu_())
    kl = 0.5 * (loc.square().sum() + scale.square().sum() - loc.numel()) - scale.log().sum()
    return Reconstruction.apply(logits, x) - kl


# ---- the importance-weighted bound of ten draws


def weighted(rows: int, pixels: int, hidden: int, code: int) -> Workload:
    one = workload(rows, pixels, hidden, code)
    return replace(one, spec="iwae.vispec", reference=weighted_reference, programs={"hand": weighted_hand})


def weighted_reference(p: Tensors, batch: Tensors) -> Tensor:
    """By torch.distributions, draw by draw."""
    x, law = batch["x"], torch.distributions
    loc, raw = layer(p, "encode.out", layer(p, "encode.mlp.0", x).relu()).chunk(2, 1)
    q, prior, terms = law.Normal(loc, F.softplus(raw)), law.Normal(torch.zeros_like(loc), torch.ones_like(loc)), []
    for noise in torch.randn(SAMPLES, *loc.shape).to(loc):
        z = q.loc + q.scale * noise
        logits = layer(p, "decode.out", layer(p, "decode.mlp.0", z).relu())
        terms.append(law.Bernoulli(logits=logits).log_prob(x).sum(1) + (prior.log_prob(z) - q.log_prob(z)).sum(1))
    return (torch.stack(terms).logsumexp(0) - math.log(SAMPLES)).sum()


def weighted_hand(p: Tensors, batch: Tensors) -> Tensor:
    """The usual script."""
    x = batch["x"]
    loc, raw = layer(p, "encode.out", torch.relu(layer(p, "encode.mlp.0", x))).chunk(2, 1)
    scale = F.softplus(raw)
    noise = torch.randn(SAMPLES, *loc.shape)
    z = loc + scale * noise
    logits = layer(p, "decode.out", torch.relu(layer(p, "decode.mlp.0", z)))
    log_x = (logits * x - F.softplus(logits)).sum(2)
    log_w = log_x + 0.5 * (noise.square() - z.square()).sum(2) + scale.log().sum(1)
    return (log_w.logsumexp(0) - math.log(SAMPLES)).sum()
