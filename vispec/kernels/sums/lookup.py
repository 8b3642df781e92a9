"""Tables of outcomes at the observed ones; mixtures of them, for which each entry is exponentiated once for all."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.backward import first_derivative
from vispec.kernels.distinct import distinct
from vispec.kernels.layers.counts import count_values
from vispec.kernels.sums.logsum import log_sum_exp, weights


class MixedTotal(torch.autograd.Function):
    """Σ_v counts[r, v] log Σ_k weight[r, k] p[k, v]: (R, K), (K, V), (R, V) → (R).

    softmax: whether the weight is the softmax of what is given, or its exp; and so for p. All R·V probabilities are one product
    of matrices. Those of outcomes that occur and are too improbable for it are summed in log space.
    """

    @staticmethod
    def forward(ctx, log_weight, table, counts, softmax):
        real = torch.finfo(log_weight.dtype)
        top = None if softmax[0] else log_weight.amax(1, keepdim=True).clamp_(min=real.min)
        weight = weights(log_weight - top) if top is not None else torch.threshold_(log_weight.softmax(1), real.tiny, 0.0)
        p = table.softmax(1) if softmax[1] else weights(table.clone())
        least = 16 * len(p) * real.tiny / real.eps  # below it, what underflowed may matter
        sure = all(softmax) and p.amin() >= len(p) * least  # as some topic has a weight of at least 1 / K
        mass = weight @ (p if sure else torch.threshold_(p, real.tiny, 0.0))  # (R, V)
        total = None if top is None else counts.sum(1).mul_(top.squeeze(1))
        rare = None, None, None
        if not sure and mass.numel() and mass.amin() < least:
            row, outcome = ((mass < least) & (counts > 0)).nonzero().unbind(1)
            mass.clamp_(min=least)
            often, counts = counts[row, outcome], counts.index_put((row, outcome), counts.new_zeros(()))
            log_p = table.log_softmax(1) if softmax[1] else table
            terms = (log_weight.log_softmax(1) if top is None else log_weight - top)[row] + log_p.T[outcome]  # (those, K)
            log_sum = torch.logsumexp(terms, 1)
            total = (counts.new_zeros(len(counts)) if total is None else total).index_add_(0, row, often * log_sum)
            rare = row, outcome, terms.sub_(log_sum.clamp_(min=real.min)[:, None]).exp_().mul_(often[:, None])
        found = torch.linalg.vecdot(counts, mass.log())
        ctx.save_for_backward(weight, p, torch.div(counts, mass, out=mass), *rare)
        ctx.softmax = softmax
        return found if total is None else found.add_(total)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        weight, p, share, row, outcome, by_topic = ctx.saved_tensors
        scaled = weight * grad[:, None]
        by_weight, by_p = (share @ p.T).mul_(scaled), scaled.T @ share
        if by_topic is not None:
            by_topic = by_topic * grad[row, None]
            by_weight.index_add_(0, row, by_topic)
        if ctx.softmax[1]:  # what all outcomes give a topic is what all rows do
            by_p.sub_(by_weight.sum(0).unsqueeze(1))
        by_table = by_p.mul_(p)
        if by_topic is not None:
            by_table.index_add_(1, outcome, by_topic.T)
        if ctx.softmax[0]:
            by_weight.addcmul_(weight, by_weight.sum(1, keepdim=True), value=-1)
        return by_weight, by_table, None, None


def mixed_total(
    log_weight: Tensor,
    table: Tensor,
    value: Tensor,
    inside: Tensor | None,
    softmax: tuple[bool, bool],
    counts: Tensor | None = None,
) -> Tensor:
    """Σ_n log Σ_k weight[..., k] p[k, value[..., n]] over what is inside: (*R, K), (K, V), (*R, *N) → (*R).

    softmax: whether the weight is the softmax of what is given, or its exp; and so for p, of the table. counts: of the values
    inside, (*R, V), where they are known already."""
    lead, compiling = log_weight.shape[:-1], torch.compiler.is_compiling()
    R, N = lead.numel(), value.shape[len(lead) :].numel()
    if len(lead) != 1:
        log_weight = log_weight.reshape(R, len(table))
    few, many = table.shape[1] > value.numel(), table.shape[1] > 64 * N
    if counts is None or few or many or compiling:
        once = log_weight.new_ones(()) if inside is None else inside.to(log_weight.dtype)
        once, value = once.expand(value.shape).reshape(R, N), value.reshape(R, N)
        if (few or many or compiling) and softmax[1]:  # a sum an observation is less work
            table, softmax = table.log_softmax(1), (softmax[0], False)
        if few and not compiling:
            outcomes, value = distinct(value)
            table = table[:, outcomes]
        if compiling or table.shape[1] > 64 * N:
            log_weight = log_weight.log_softmax(1) if softmax[0] else log_weight
            each = log_sum_exp(log_weight[:, None] + F.embedding(value, table.T))  # (R, N)
            return torch.where(once > 0, each, 0.0).sum(1).view(lead)
        counts = count_values(value, table.shape[1], once, once)
    return MixedTotal.apply(log_weight, table, counts.view(R, table.shape[1]), softmax).view(lead)


def columns(table: Tensor, index: Tensor) -> Tensor:
    """table (K, V), index (*B) → (*B, K). The gradient of torch's embedding takes four times as long."""
    return table.T.contiguous().index_select(0, index.reshape(-1)).view(*index.shape, len(table))


def pick_last(table: Tensor, index: Tensor) -> Tensor:
    """table[..., index] for table (*B, K) and index (*B), leading axes broadcast → (*B).

    Rows of a table that serve many indices are not expanded, as their gradient would be too."""
    if table.dim() == 1:  # selecting scatters its gradient into (K,), gathering into (*B, K)
        return table.index_select(0, index.reshape(-1)).view(index.shape)
    lead = torch.broadcast_shapes(index.shape, table.shape[:-1])
    own = (1,) * (len(lead) + 1 - table.dim()) + table.shape[:-1]
    order = sorted(range(len(lead)), key=lambda d: own[d] != lead[d])  # last where one row serves many indices
    rows = table.reshape(-1, table.shape[-1])
    index = index.expand(lead).permute(order).reshape(len(rows), lead.numel() // max(len(rows), 1))
    found = rows.gather(1, index).view([lead[d] for d in order])
    return found.permute([order.index(d) for d in range(len(lead))])


def cells(table: Tensor, *index: Tensor) -> Tensor:
    """table (N_1, ..., N_n, *R) at n indices that broadcast to (*B) → (*B, *R). Its gradient adds up rows, which is fast."""
    first, *others = index
    for size, each in zip(table.shape[1:], others, strict=False):
        first = first * size + each
    rows = table.flatten(0, len(index) - 1) if others else table
    return rows.index_select(0, first.reshape(-1)).view(*first.shape, *table.shape[len(index) :])


def steps_back(x: Tensor, lag: int, dim: int, fill: Tensor | float) -> Tensor:
    """The element `lag` steps back along a dimension, 0 the first; `fill`, a number or what broadcasts to x, where none is."""
    none = min(lag, x.shape[dim])
    rest = x.narrow(dim, 0, x.shape[dim] - none)
    if not isinstance(fill, Tensor):
        return F.pad(rest, (*(0, 0) * (x.dim() - 1 - dim), none, 0), value=fill)
    return torch.cat([fill.to(x.dtype).expand_as(x).narrow(dim, 0, none), rest], dim)
