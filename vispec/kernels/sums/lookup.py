"""Tables of outcomes at the observed ones; mixtures of them, for which each entry is exponentiated once for all."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.distinct import distinct
from vispec.kernels.sums.logsum import log_sum_exp, weights


class MixedTotal(torch.autograd.Function):
    """Σ_n once[r, n] log Σ_k exp(log_weight[r, k]) p[k, index[r, n]]: (R, K), (K, V), (R, N) → (R).

    p = exp(table) or softmax(table). Probabilities of all R·V outcomes are one product of matrices. The few that are too small
    for it are summed in log space.
    """

    @staticmethod
    def forward(ctx, log_weight, table, index, once, normalised):
        real = torch.finfo(log_weight.dtype)
        top = log_weight.amax(1, keepdim=True).clamp_(min=real.min)
        weight = weights(log_weight - top)
        p = weights(table.clone()) if normalised else torch.threshold_(table.softmax(1), real.tiny, 0.0)
        picked = (weight @ p).gather(1, index)  # (R, N)
        log_sum, rare = picked.log().add_(top), (None, None, None)
        least = 16 * len(p) * real.tiny / real.eps  # below it, what underflowed may matter
        if picked.numel() and picked.amin() < least:
            small = picked < least
            row, n = (small & (once > 0)).nonzero().unbind(1)
            log_p = table if normalised else table.log_softmax(1)
            terms = log_weight[row] + log_p.T[index[row, n]]  # (those, K)
            log_sum.masked_fill_(small, 0.0)
            log_sum[row, n] = torch.logsumexp(terms, 1)
            picked.masked_fill_(small, torch.inf)
            by_topic = terms.sub_(log_sum[row, n].clamp(min=real.min)[:, None]).exp_()
            rare = row, index[row, n], by_topic.mul_(once[row, n, None])
        ctx.save_for_backward(weight, p, index, once / picked, *rare)
        ctx.normalised = normalised
        return torch.linalg.vecdot(once, log_sum)

    @staticmethod
    def backward(ctx, grad):
        weight, p, index, share, row, outcome, by_topic = ctx.saved_tensors
        weight, share = weight * grad[:, None], share.new_zeros(len(weight), p.shape[1]).scatter_add_(1, index, share)
        by_weight, by_log_p = (share @ p.T).mul_(weight), (weight.T @ share).mul_(p)
        if by_topic is not None:
            by_topic = by_topic * grad[row, None]
            by_weight.index_add_(0, row, by_topic)
            by_log_p.index_add_(1, outcome, by_topic.T)
        if not ctx.normalised:
            by_log_p.addcmul_(p, by_log_p.sum(1, keepdim=True), value=-1)
        return by_weight, by_log_p, None, None, None


def mixed_total(log_weight: Tensor, table: Tensor, value: Tensor, inside: Tensor | None, normalised: bool) -> Tensor:
    """Σ_n log Σ_k exp(log_weight[..., k]) p[k, value[..., n]] over what is inside: (*R, K), (K, V), (*R, *N) → (*R).

    The table holds log p, or numbers whose softmax p is where it is not normalised."""
    lead = log_weight.shape[:-1]
    R, N = lead.numel(), value.shape[len(lead) :].numel()
    index, log_weight, compiling = value.reshape(R, N), log_weight.reshape(R, len(table)), torch.compiler.is_compiling()
    once = log_weight.new_ones(()) if inside is None else inside.to(log_weight.dtype)
    once = once.expand(value.shape).reshape(R, N)
    few = table.shape[1] > R * N
    if (few or compiling or table.shape[1] > 64 * N) and not normalised:  # a sum an observation is less work
        table, normalised = table.log_softmax(1), True
    if few and not compiling:
        outcomes, index = distinct(index)
        table = table[:, outcomes]
    if compiling or table.shape[1] > 64 * N:
        each = log_sum_exp(log_weight[:, None] + F.embedding(index, table.T))  # (R, N)
        return torch.where(once > 0, each, 0.0).sum(1).view(lead)
    return MixedTotal.apply(log_weight, table, index, once, normalised).view(lead)


def columns(table: Tensor, index: Tensor) -> Tensor:
    """table (K, V), index (*B) → (*B, K). The gradient of torch's embedding takes four times as long."""
    return table.T.contiguous().index_select(0, index.reshape(-1)).view(*index.shape, len(table))
