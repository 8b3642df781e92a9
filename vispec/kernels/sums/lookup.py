"""Tables of outcomes at the observed ones; mixtures of them, for which each entry is exponentiated once for all."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.distinct import distinct
from vispec.kernels.layers.counts import count_values
from vispec.kernels.sums.logsum import log_sum_exp, weights


class MixedTotal(torch.autograd.Function):
    """Σ_n once[r, n] log Σ_k exp(log_weight[r, k]) p[k, index[r, n]]: (R, K), (K, V), (R, N) → (R).

    p = exp(table) or softmax(table). counts (R, V): Σ of once over each outcome. Probabilities of all R·V outcomes are one
    product of matrices. The few that are too small for it are summed in log space.
    """

    @staticmethod
    def forward(ctx, log_weight, table, index, once, counts, normalised):
        real = torch.finfo(log_weight.dtype)
        top = log_weight.amax(1, keepdim=True).clamp_(min=real.min)
        weight = weights(log_weight - top)
        p = weights(table.clone()) if normalised else torch.threshold_(table.softmax(1), real.tiny, 0.0)
        mass = weight @ p  # (R, V)
        picked = mass.gather(1, index)  # (R, N)
        log_sum, rare = picked.log().add_(top), (None, None, None)
        least = 16 * len(p) * real.tiny / real.eps  # below it, what underflowed may matter
        share = counts / mass.clamp_(min=least)
        if picked.numel() and picked.amin() < least:
            small = picked < least
            row, n = (small & (once > 0)).nonzero().unbind(1)
            log_p = table if normalised else table.log_softmax(1)
            terms = log_weight[row] + log_p.T[index[row, n]]  # (those, K)
            log_sum.masked_fill_(small, 0.0)
            log_sum[row, n] = torch.logsumexp(terms, 1)
            share[row, index[row, n]] = 0.0
            by_topic = terms.sub_(log_sum[row, n].clamp(min=real.min)[:, None]).exp_()
            rare = row, index[row, n], by_topic.mul_(once[row, n, None])
        ctx.save_for_backward(weight, p, share, *rare)
        ctx.normalised = normalised
        return torch.linalg.vecdot(once, log_sum)

    @staticmethod
    def backward(ctx, grad):
        weight, p, share, row, outcome, by_topic = ctx.saved_tensors
        weight = weight * grad[:, None]
        by_weight, by_log_p = (share @ p.T).mul_(weight), (weight.T @ share).mul_(p)
        if by_topic is not None:
            by_topic = by_topic * grad[row, None]
            by_weight.index_add_(0, row, by_topic)
            by_log_p.index_add_(1, outcome, by_topic.T)
        if not ctx.normalised:
            by_log_p.addcmul_(p, by_log_p.sum(1, keepdim=True), value=-1)
        return by_weight, by_log_p, None, None, None, None


def mixed_total(
    log_weight: Tensor, table: Tensor, value: Tensor, inside: Tensor | None, normalised: bool, counts: Tensor | None = None
) -> Tensor:
    """Σ_n log Σ_k exp(log_weight[..., k]) p[k, value[..., n]] over what is inside: (*R, K), (K, V), (*R, *N) → (*R).

    The table holds log p, or numbers whose softmax p is where it is not normalised. counts: of the values inside, (*R, V),
    where they are known already."""
    lead, compiling = log_weight.shape[:-1], torch.compiler.is_compiling()
    once = log_weight.new_ones(value.shape) if inside is None else inside.to(log_weight.dtype)
    if len(lead) != 1 or value.dim() != 2 or once.shape != value.shape:  # views that change nothing take their time
        R, N = lead.numel(), value.shape[len(lead) :].numel()
        once, value, log_weight = once.expand(value.shape).reshape(R, N), value.reshape(R, N), log_weight.reshape(R, len(table))
        counts = None if counts is None else counts.view(R, table.shape[1])
    few, many = table.shape[1] > value.numel(), table.shape[1] > 64 * value.shape[1]
    if (few or many or compiling) and not normalised:  # a sum an observation is less work
        table, normalised = table.log_softmax(1), True
    if few and not compiling:
        outcomes, value = distinct(value)
        table, counts = table[:, outcomes], None
    if compiling or table.shape[1] > 64 * value.shape[1]:
        each = log_sum_exp(log_weight[:, None] + F.embedding(value, table.T))  # (R, N)
        return torch.where(once > 0, each, 0.0).sum(1).view(lead)
    if counts is None:
        counts = count_values(value, table.shape[1], once, once)
    total = MixedTotal.apply(log_weight, table, value, once, counts, normalised)
    return total if len(lead) == 1 else total.view(lead)


def columns(table: Tensor, index: Tensor) -> Tensor:
    """table (K, V), index (*B) → (*B, K). The gradient of torch's embedding takes four times as long."""
    return table.T.contiguous().index_select(0, index.reshape(-1)).view(*index.shape, len(table))
