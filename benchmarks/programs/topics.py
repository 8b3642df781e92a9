"""A topic model with a logistic-normal document variable: Σ_d Σ_n log Σ_k softmax(z_d)_k β_k,w_dn - KL(q(z | w_d))."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.workload import Tensors, Workload

HIDDEN = 100


def workload(documents: int, words: int, types: int, topics: int) -> Workload:
    """Words follow a power law; `counts` (B, V) is what a dense program reads, prepared beforehand."""
    g = torch.Generator().manual_seed(0)
    parameters = {"encode.from_words.weight": torch.randn(types, HIDDEN, generator=g) / math.sqrt(types)}
    parameters |= {"encode.out.weight": torch.randn(2 * topics, HIDDEN, generator=g) / math.sqrt(HIDDEN)}
    parameters |= {"encode.from_words.bias": 0.1 * torch.randn(HIDDEN, generator=g)}
    parameters |= {"encode.out.bias": 0.1 * torch.randn(2 * topics, generator=g)}
    parameters |= {"raw_beta": torch.randn(topics, types, generator=g)}
    power = torch.arange(1.0, types + 1) ** -0.8
    w = torch.multinomial(power, documents * words, True, generator=g).view(documents, words)
    counts = torch.zeros(documents, types).scatter_add_(1, w, torch.ones(w.shape))
    batch = {"w": w, "w_len": torch.full((documents,), words), "counts": counts}
    programs = {"hand": hand, "sparse": sparse}
    return Workload("topics.vispec", {"K": topics, "V": types}, parameters, batch, reference, programs)


def encode(p: Tensors, counts: Tensor) -> tuple[Tensor, Tensor]:
    """A draw of z (B, K), and the divergence of all documents."""
    hidden = F.softplus(torch.addmm(p["encode.from_words.bias"], counts, p["encode.from_words.weight"]))
    loc, raw = F.linear(hidden, p["encode.out.weight"], p["encode.out.bias"]).chunk(2, 1)
    scale = F.softplus(raw)
    z = loc + scale * torch.randn(loc.shape).to(loc)
    return z, 0.5 * (loc.square() + scale.square() - 2 * scale.log() - 1).sum()


def reference(p: Tensors, batch: Tensors) -> Tensor:
    """Document by document, in log space."""
    z, kl = encode(p, batch["counts"])
    log_theta, log_beta = z.log_softmax(1), p["raw_beta"].log_softmax(1)
    words = [(theta[:, None] + log_beta[:, w]).logsumexp(0).sum() for theta, w in zip(log_theta, batch["w"], strict=True)]
    return torch.stack(words).sum() - kl


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """Every document's probability of every word."""
    z, kl = encode(p, batch["counts"])
    return (batch["counts"] * (z.softmax(1) @ p["raw_beta"].softmax(1)).log()).sum() - kl


def sparse(p: Tensors, batch: Tensors) -> Tensor:
    """Only the words that stand in a document."""
    z, kl = encode(p, batch["counts"])
    beta = F.embedding(batch["w"], p["raw_beta"].softmax(1).T)  # (B, N, K)
    return torch.bmm(beta, z.softmax(1)[:, :, None]).log().sum() - kl
