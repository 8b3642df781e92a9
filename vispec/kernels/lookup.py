"""Mixtures of tables of outcomes, at the observed ones: each weight and each entry is exponentiated once for all of them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.chain import weights
from vispec.kernels.distinct import distinct
from vispec.kernels.logsum import log_sum_exp


class MixedLookup(torch.autograd.Function):
    """log Σ_k exp(log_weight[r, k] + log_table[k, index[r, n]]): (R, K), (K, V), (R, N) → (R, N).

    Probabilities of all R·V outcomes are one product of matrices. The few that are too small for it are summed in log space.
    """

    @staticmethod
    def forward(ctx, log_weight, log_table, index):
        real = torch.finfo(log_weight.dtype)
        top = log_weight.amax(1, keepdim=True).clamp_(min=real.min)
        peak = log_table.amax(0).clamp_(min=real.min)
        weight, table = weights(log_weight - top), weights(log_table - peak)
        picked = (weight @ table).gather(1, index)  # (R, N)
        row, at = (picked < 16 * len(table) * real.tiny / real.eps).nonzero().unbind(1)  # what underflowed may matter there
        log_sum, share = picked.log().add_(top).add_(peak[index]), None
        if len(row):
            terms = log_weight[row] + log_table.T[index[row, at]]  # (those, K)
            log_sum[row, at] = torch.logsumexp(terms, 1)
            share = terms.sub_(log_sum[row, at].clamp(min=real.min)[:, None]).exp_()
            picked[row, at] = torch.inf
        ctx.save_for_backward(weight, table, index, picked, row, at, share)
        return log_sum

    @staticmethod
    def backward(ctx, grad):
        weight, table, index, picked, row, at, share = ctx.saved_tensors
        by_outcome = grad.new_zeros(len(weight), table.shape[1]).scatter_add_(1, index, grad / picked)  # (R, V)
        by_weight, by_table = (by_outcome @ table.T).mul_(weight), (weight.T @ by_outcome).mul_(table)
        if share is not None:
            share = share * grad[row, at][:, None]
            by_weight.index_add_(0, row, share)
            by_table.index_add_(1, index[row, at], share.T)
        return by_weight, by_table, None


def mixed_lookup(log_weight: Tensor, log_table: Tensor, value: Tensor) -> Tensor:
    """log Σ_k exp(log_weight[..., k] + log_table[k, value]): (*R, K), (K, V), (*R, *N) → (*R, *N)."""
    lead, shape = log_weight.shape[:-1], value.shape
    index = value.reshape(lead.numel(), shape[len(lead) :].numel())  # (R, N)
    if index.numel() < log_table.shape[1] and not torch.compiler.is_compiling():
        outcomes, index = distinct(index)
        log_table = log_table[:, outcomes]
    if torch.compiler.is_compiling() or log_table.shape[1] > 64 * index.shape[1]:  # a sum an observation is less work
        columns = F.embedding(index, log_table.T)  # (R, N, K)
        return log_sum_exp(log_weight.reshape(len(index), 1, len(log_table)) + columns).view(shape)
    return MixedLookup.apply(log_weight.reshape(len(index), len(log_table)), log_table, index).view(shape)
