"""Sentiment from some of the words: log p(x | y) = log Σ_f Π_i p(f_i | y_i) · softmax(mlp(mean of the chosen embeddings))[x].

Words and rows are all of one length; every one of the 2^n subsets is summed over.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.workload import Tensors, Workload


def workload(rows: int, words: int, types: int) -> Workload:
    g = torch.Generator().manual_seed(0)
    shapes = {"classify.mlp.0": (64, 64), "classify.out": (2, 64), "select.out": (1, 64)}
    parameters = {f"{name}.embed.weight": torch.randn(types, 64, generator=g) for name in ("select", "classify")}
    parameters |= {f"{k}.weight": 2 * torch.randn(s, generator=g) / math.sqrt(s[1]) for k, s in shapes.items()}
    parameters |= {f"{k}.bias": 0.1 * torch.randn(s[0], generator=g) for k, s in shapes.items()}
    batch = {
        "y": torch.randint(types, (rows, words), generator=g),
        "y_len": torch.full((rows,), words),
        "x": torch.randint(2, (rows,), generator=g),
    }
    return Workload("rationale.vispec", {"V": types}, parameters, batch, reference, {"hand": hand, "expert": expert})


def subsets(words: int, like: Tensor) -> Tensor:
    """All of them (2^n, n), as zeros and ones."""
    return ((torch.arange(2**words)[:, None] >> torch.arange(words)) & 1).to(like)


def layer(p: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def reference(p: Tensors, batch: Tensors) -> Tensor:
    """Review by review."""
    total, chosen = p["select.out.bias"].new_zeros(()), subsets(batch["y"].shape[1], p["select.out.bias"])
    for y, x in zip(batch["y"], batch["x"], strict=True):
        law = torch.distributions.Bernoulli(logits=layer(p, "select.out", F.embedding(y, p["select.embed.weight"]))[:, 0])
        mean = chosen @ F.embedding(y, p["classify.embed.weight"]) / chosen.sum(1, keepdim=True).clamp(min=1)
        logits = layer(p, "classify.out", layer(p, "classify.mlp.0", mean).relu())
        total = total + (law.log_prob(chosen).sum(1) + logits.log_softmax(1)[:, x]).logsumexp(0)
    return total


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """All subsets of all rows at once."""
    y, x = batch["y"], batch["x"]
    score = layer(p, "select.out", F.embedding(y, p["select.embed.weight"]))[..., 0]  # (B, n)
    chosen = subsets(y.shape[1], score)
    log_f = score @ chosen.T + F.logsigmoid(-score).sum(1, keepdim=True)  # (B, 2^n)
    mean = (chosen @ F.embedding(y, p["classify.embed.weight"])) / chosen.sum(1, keepdim=True).clamp(min=1)  # (B, 2^n, 64)
    logits = layer(p, "classify.out", layer(p, "classify.mlp.0", mean).relu())
    log_x = logits.log_softmax(2).gather(2, x[:, None, None].expand(-1, len(chosen), 1))[..., 0]
    return (log_f + log_x).logsumexp(1).sum()


class Subsets(torch.autograd.Function):
    """Σ_b log Σ_s exp(score_b · m_s) · sigmoid(bias_b + weight_b · relu(first + mean_s(word_b))): two classes, one logit.

    score (B, n), word (B, n, H), first (H,), weight (B, H), bias (B,). Subsets are walked in blocks that stay in the cache,
    each block's gradient taken at once and rescaled when the running total grows.
    """

    BLOCK = 1024

    @staticmethod
    def forward(ctx, score, word, first, weight, bias):
        rows, total = len(score), score.new_full((len(score),), -torch.inf)
        sums = [torch.zeros_like(x) for x in (score, word, weight, bias)]
        firsts = torch.zeros_like(weight)
        for block in subsets(score.shape[1], score).split(Subsets.BLOCK):
            share = block / block.sum(1, keepdim=True).clamp(min=1)
            hidden = torch.matmul(share, word).add_(first).relu_()  # (B, S, H)
            logit = torch.bmm(hidden, weight[:, :, None])[..., 0].add_(bias[:, None])
            log_p = F.logsigmoid(logit).addmm_(score, block.T)
            new = torch.logaddexp(total, log_p.logsumexp(1))
            kept = (total - new).exp_()
            posterior = log_p.sub_(new[:, None]).clamp_(min=-80).exp_()
            by_logit = posterior * logit.neg_().sigmoid_()  # (B, S)
            by_hidden = by_logit[:, :, None] * weight[:, None]
            by_hidden.mul_(hidden > 0)
            parts = (
                posterior @ block,
                share.T @ by_hidden,
                torch.bmm(by_logit[:, None], hidden)[:, 0],
                by_logit.sum(1),
                by_hidden.sum(1),
            )
            for old, part in zip((*sums, firsts), parts, strict=True):
                old.mul_(kept.view(rows, *[1] * (old.dim() - 1))).add_(part)
            total = new
        by_score, by_word, by_weight, by_bias = sums
        ctx.save_for_backward(by_score, by_word, firsts.sum(0), by_weight, by_bias)
        return total.sum()

    @staticmethod
    def backward(ctx, grad):
        return tuple(grad * x for x in ctx.saved_tensors)


def expert(p: Tensors, batch: Tensors) -> Tensor:
    """The first layer is linear, so it is applied to the n words, not to the 2^n means; gradients in the same pass."""
    y, sign = batch["y"], 2.0 * batch["x"] - 1
    score = layer(p, "select.out", F.embedding(y, p["select.embed.weight"]))[..., 0]
    word = F.embedding(y, p["classify.embed.weight"]) @ p["classify.mlp.0.weight"].T
    out, bias = p["classify.out.weight"], p["classify.out.bias"]
    weight = sign[:, None] * (out[1] - out[0])
    log_sum = Subsets.apply(score, word, p["classify.mlp.0.bias"], weight, sign * (bias[1] - bias[0]))
    return log_sum + F.logsigmoid(-score).sum()
