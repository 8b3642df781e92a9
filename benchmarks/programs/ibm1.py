"""Neural IBM model 1: log p(x | y) = Σ_i log Σ_j 1/|y| · softmax(mlp(embed(y_j)))[x_i]."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.workload import Tensors, Workload


def workload(pairs: int, words: int, types: int, embed: int, hidden: int) -> Workload:
    """Words follow Zipf's law, so that a batch has far fewer types than tokens."""
    g = torch.Generator().manual_seed(0)
    parameters = {
        "lex.embed.weight": torch.randn(types, embed, generator=g),
        "lex.mlp.0.weight": torch.randn(hidden, embed, generator=g) / math.sqrt(embed),
        "lex.mlp.0.bias": 0.1 * torch.randn(hidden, generator=g),
        "lex.out.weight": torch.randn(types, hidden, generator=g) / math.sqrt(hidden),
        "lex.out.bias": 0.1 * torch.randn(types, generator=g),
    }
    zipf = 1 / torch.arange(1.0, types + 1)
    x, y = torch.multinomial(zipf, 2 * pairs * words, True, generator=g).view(2, pairs, words)
    full = torch.full((pairs,), words)
    batch = {"x": x, "y": y, "x_len": full, "y_len": full}
    programs = {"plain": plain, "hand": hand, "unique": unique, "expert": expert}
    return Workload("ibm1.vispec", {"EN": types, "FR": types}, parameters, batch, reference, programs)


def features(p: Tensors, y: Tensor) -> Tensor:
    return F.linear(F.embedding(y, p["lex.embed.weight"]), p["lex.mlp.0.weight"], p["lex.mlp.0.bias"]).relu()


def reference(p: Tensors, batch: Tensors) -> Tensor:
    """Pair by pair."""
    total = p["lex.out.bias"].new_zeros(())
    for x, y in zip(batch["x"], batch["y"], strict=True):
        table = F.linear(features(p, y), p["lex.out.weight"], p["lex.out.bias"]).log_softmax(1)  # (|y|, V)
        total = total + (table[:, x].logsumexp(0) - math.log(len(y))).sum()
    return total


def plain(p: Tensors, batch: Tensors) -> Tensor:
    """A distribution over the vocabulary for every source token, then the words of the target out of it."""
    x, y = batch["x"], batch["y"]
    table = F.linear(features(p, y), p["lex.out.weight"], p["lex.out.bias"]).log_softmax(2)  # (B, J, V)
    picked = table.gather(2, x[:, None, :].expand(-1, y.shape[1], -1))  # (B, J, I)
    return (picked.logsumexp(1) - math.log(y.shape[1])).sum()


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """The words of the target out of the logits, which only then are normalised."""
    x, y = batch["x"], batch["y"]
    logits = F.linear(features(p, y), p["lex.out.weight"], p["lex.out.bias"])  # (B, J, V)
    picked = logits.gather(2, x[:, None, :].expand(-1, y.shape[1], -1)) - logits.logsumexp(2, keepdim=True)
    return (picked.logsumexp(1) - math.log(y.shape[1])).sum()


def unique(p: Tensors, batch: Tensors) -> Tensor:
    """The same with the net run once for each distinct source word of the batch."""
    x, y = batch["x"], batch["y"]
    words, at = torch.unique(y, return_inverse=True)  # (U,), (B, J)
    logits = F.linear(features(p, words), p["lex.out.weight"], p["lex.out.bias"])  # (U, V)
    picked = logits[at[:, :, None], x[:, None, :]] - logits.logsumexp(1)[at][:, :, None]
    return (picked.logsumexp(1) - math.log(y.shape[1])).sum()


class Alignments(torch.autograd.Function):
    """Σ_s log Σ_j softmax(h Wᵀ + b)[row_sj, col_sj] for h (U, H), row and col (S, J).

    The loss is one sum, so the gradient of the logits is finished in their own buffer before the forward pass ends.
    """

    @staticmethod
    def forward(ctx, h, weight, bias, row, col):
        table = torch.addmm(bias, h, weight.T)  # (U, V) logits
        torch.softmax(table, 1, out=table)
        picked = table[row, col]  # (S, J)
        total = picked.sum(1, keepdim=True)
        share = (picked / total).flatten()
        mass = torch.zeros(len(h), dtype=h.dtype).index_add_(0, row.flatten(), share)
        table.mul_(-mass[:, None])
        table.view(-1).index_add_(0, (row * table.shape[1] + col).flatten(), share)
        ctx.save_for_backward(h, weight, table)
        return total.log_().sum()

    @staticmethod
    def backward(ctx, grad):
        h, weight, table = ctx.saved_tensors
        return grad * (table @ weight), grad * (table.T @ h), grad * table.sum(0), None, None


def expert(p: Tensors, batch: Tensors) -> Tensor:
    """The net runs once for each distinct source word of the batch; nothing but the logits is as large as the vocabulary."""
    x, y = batch["x"], batch["y"]
    words, at = torch.unique(y, return_inverse=True)  # (U,), (B, J)
    shape = (*x.shape, y.shape[1])
    row, col = at[:, None, :].expand(shape).flatten(0, 1), x[:, :, None].expand(shape).flatten(0, 1)  # (B I, J)
    both = Alignments.apply(features(p, words), p["lex.out.weight"], p["lex.out.bias"], row, col)
    return both - x.numel() * math.log(y.shape[1])
