"""Tables of outcomes at the observed ones; mixtures of them, for which each entry is exponentiated once for all."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.distinct import distinct
from vispec.kernels.logsum import log_sum_exp, weights


class MixedLookup(torch.autograd.Function):
    """log Σ_k exp(log_weight[r, k]) p[k, index[r, n]]: (R, K), (K, V), (R, N) → (R, N); p = exp(table) or softmax(table).

    Probabilities of all R·V outcomes are one product of matrices. The few that are too small for it are summed in log space.
    """

    @staticmethod
    def forward(ctx, log_weight, table, index, normalised):
        real = torch.finfo(log_weight.dtype)
        top = log_weight.amax(1, keepdim=True).clamp_(min=real.min)
        weight = weights(log_weight - top)
        p = weights(table.clone()) if normalised else torch.threshold_(table.softmax(1), real.tiny, 0.0)
        picked = (weight @ p).gather(1, index)  # (R, N)
        log_sum, row, at, share = picked.log().add_(top), None, None, None
        small = picked < 16 * len(p) * real.tiny / real.eps  # what underflowed may matter there
        if small.any():
            row, at = small.nonzero().unbind(1)
            log_table = table if normalised else table.log_softmax(1)
            terms = log_weight[row] + log_table.T[index[row, at]]  # (those, K)
            log_sum[row, at] = torch.logsumexp(terms, 1)
            share = terms.sub_(log_sum[row, at].clamp(min=real.min)[:, None]).exp_()
            picked[row, at] = torch.inf
        ctx.save_for_backward(weight, p, index, picked, row, at, share)
        ctx.normalised = normalised
        return log_sum

    @staticmethod
    def backward(ctx, grad):
        weight, p, index, picked, row, at, share = ctx.saved_tensors
        by_outcome = grad.new_zeros(len(weight), p.shape[1]).scatter_add_(1, index, grad / picked)  # (R, V)
        by_weight, by_log_p = (by_outcome @ p.T).mul_(weight), (weight.T @ by_outcome).mul_(p)
        if share is not None:
            share = share * grad[row, at][:, None]
            by_weight.index_add_(0, row, share)
            by_log_p.index_add_(1, index[row, at], share.T)
        if ctx.normalised:
            return by_weight, by_log_p, None, None
        return by_weight, by_log_p.addcmul_(p, by_log_p.sum(1, keepdim=True), value=-1), None, None


def mixed_lookup(log_weight: Tensor, table: Tensor, value: Tensor, normalised: bool) -> Tensor:
    """log Σ_k exp(log_weight[..., k]) p[k, value]: (*R, K), (K, V), (*R, *N) → (*R, *N).

    The table holds log p, or numbers whose softmax p is where it is not normalised."""
    lead, shape = log_weight.shape[:-1], value.shape
    index = value.reshape(lead.numel(), shape[len(lead) :].numel())  # (R, N)
    log_weight, compiling = log_weight.reshape(len(index), len(table)), torch.compiler.is_compiling()
    few = index.numel() < table.shape[1]
    if few or compiling or table.shape[1] > 64 * index.shape[1]:  # a sum an observation is less work
        table = table if normalised else table.log_softmax(1)
    if few and not compiling:
        outcomes, index = distinct(index)
        table = table[:, outcomes]
    if compiling or table.shape[1] > 64 * index.shape[1]:
        columns = F.embedding(index, table.T)  # (R, N, K)
        return log_sum_exp(log_weight[:, None] + columns).view(shape)
    return MixedLookup.apply(log_weight, table, index, normalised or few).view(shape)


def columns(table: Tensor, index: Tensor) -> Tensor:
    """table (K, V), index (*B) → (*B, K). The gradient of torch's embedding takes four times as long."""
    return table.T.contiguous().index_select(0, index.reshape(-1)).view(*index.shape, len(table))
