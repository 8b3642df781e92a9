"""A hidden Markov model: log p(x) = Σ_n log Σ_paths init[c_1] Π_t trans[c_{t-1}, c_t] Π_t emit[c_t, x_nt]."""

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.workload import Tensors, Workload


def workload(rows: int, steps: int, states: int, types: int) -> Workload:
    g = torch.Generator().manual_seed(0)
    parameters = {
        "raw_init": torch.randn(states, generator=g),
        "raw_trans": 1.5 * torch.randn(states, states, generator=g),
        "raw_emit": 1.5 * torch.randn(states, types, generator=g),
    }
    x = torch.randint(types, (rows, steps), generator=g)
    batch = {"x": x, "x_len": torch.full((rows,), steps)}
    programs = {"plain": plain, "hand": hand, "expert": expert}
    return Workload("hmm.vispec", {"K": states, "V": types}, parameters, batch, plain, programs)


def plain(p: Tensors, batch: Tensors) -> Tensor:
    """The forward recursion in log space; also the reference, in float64."""
    trans = p["raw_trans"].log_softmax(1)
    seen = F.embedding(batch["x"].T, p["raw_emit"].log_softmax(1).T)  # (T, B, K)
    alpha = p["raw_init"].log_softmax(0) + seen[0]
    for now in seen[1:].unbind(0):
        alpha = torch.logsumexp(alpha[:, :, None] + trans, 1) + now
    return alpha.logsumexp(1).sum()


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """The forward recursion as matrix products of probabilities that are normalised at each step."""
    trans = p["raw_trans"].softmax(1)
    seen = F.embedding(batch["x"].T, p["raw_emit"].softmax(1).T)
    alpha, totals = p["raw_init"].softmax(0) * seen[0], []
    for now in seen[1:].unbind(0):
        totals.append(alpha.sum(1, keepdim=True))
        alpha = (alpha / totals[-1]) @ trans * now
    return torch.cat([*totals, alpha.sum(1, keepdim=True)]).log().sum()


class ForwardBackward(torch.autograd.Function):
    """Σ_n log Z of init (K,), trans (K, K), seen (T, B, K), all probabilities; a backward sweep gives the expected counts."""

    @staticmethod
    def forward(ctx, init, trans, seen):
        alpha, total = torch.empty_like(seen), seen.new_empty(*seen.shape[:2], 1)
        torch.mul(init, seen[0], out=alpha[0])
        before = None
        for a, s, n in zip(alpha.unbind(0), seen.unbind(0), total.unbind(0), strict=True):
            if before is not None:
                torch.mm(before, trans, out=a)
                a.mul_(s)
            torch.sum(a, 1, keepdim=True, out=n)
            before = a.div_(n)
        ctx.save_for_backward(trans, seen, alpha, total)
        return total.log().sum()

    @staticmethod
    def backward(ctx, grad):
        trans, seen, alpha, total = ctx.saved_tensors
        weight, beta, back = seen / total, torch.ones_like(seen), trans.T.contiguous()
        weights, betas = weight.unbind(0), beta.unbind(0)
        for t in range(len(seen) - 1, 0, -1):
            torch.mm(weights[t].mul_(betas[t]), back, out=betas[t - 1])
        counts = alpha[:-1].flatten(0, 1).T @ weight[1:].flatten(0, 1)
        first = (weight[0] * beta[0]).sum(0)
        return grad * first, grad * counts, (alpha * beta).div_(seen).mul_(grad)


def expert(p: Tensors, batch: Tensors) -> Tensor:
    """The forward-backward algorithm, written out."""
    seen = F.embedding(batch["x"].T.contiguous(), p["raw_emit"].softmax(1).T.contiguous())
    return ForwardBackward.apply(p["raw_init"].softmax(0), p["raw_trans"].softmax(1), seen)
