"""Sums over projective dependency trees whose heads take their dependents one after the other, from the nearest on, and decide
each time whether to go on (Klein and Manning 2004): log Z with exact gradients, the best tree, samples, all by one chart over
stretches of elements, O(n³) time and 16 n² numbers a row.

    Z = Σ_trees exp(Σ_i arcs[i, head of i, first i] + Σ_h Σ_sides of h its decisions)

arcs (*B, n, 1 + n, 2): element i hangs from the root by arc 0, exactly one does, or from element h - 1 by arc h; last by
whether it is the first that its head takes on that side, the nearest, 1, or a later one, 0. decisions (*B, n, 2, 2, 2) of an
element: on the side before it, 0, or after it, 1; about its first dependent there, 1, or a later one, 0; to stop, 0, or to go
on, 1. An element with k dependents on a side has one decision to go on for each of them and one to stop, so with none that to
stop at the first. The root decides nothing. -inf is impossible, length (*B,) says how many elements each tree has, the rest is
not read; a tree of no elements has Z = 1.

As in kernels/trees/projective.py (Eisner 1996), with stretches i..j under their first or their last element that are closed,
the head having decided to stop; going on, it having decided to take another; or an arc between i and j laid. With g = go on:

    laid right[i, j] = Σ_{i <= k < j} going right[i, k] closed left[k+1, j] exp arcs[j, 1 + i, k = i]
    right[i, j] = Σ_{i < k <= j} (laid right)[i, k] closed right[k, j]
    closed right[i, j] = right[i, j] exp stop[i, after, i = j]          going right[i, j] = right[i, j] exp g[i, after, i = j]
    Z = Σ_r closed left[0, r] closed right[r, n-1] exp arcs[r, 0, 1]

and likewise to the left. What stands left in a product lies by its first element, the width last; what stands right by its last
element, the width last and backwards."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.backward import first_derivative
from vispec.kernels.rows import along_lengths
from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.sums.chain import unused
from vispec.kernels.trees.elimination import inside
from vispec.kernels.trees.projective import best_of, last_width, share_of_best, share_of_drawn, share_of_sum, sum_of

PRODUCTS = 4  # an arc laid right, laid left; all right of an element, all left of one


def outward_log_prob(arcs: Tensor, decisions: Tensor, length: Tensor | None = None) -> Tensor:
    """log Z (*B,), -inf where no tree is possible. Its gradients are the probabilities of arcs and the expected numbers of
    decisions, 0 without a tree."""
    arcs, decisions, lengths, batch = outward_rows(arcs, decisions, length)
    grad = torch.is_grad_enabled() and (arcs.requires_grad or decisions.requires_grad)
    return outward_sums(arcs, decisions, lengths, grad)[0].view(batch)


def outward_total(total, arcs: Tensor, decisions: Tensor, length: Tensor | None = None) -> Tensor:
    """The sum over trees under an algebra (*B,): its gradients are the probabilities, the best tree, or a tree drawn."""
    if hasattr(total, "unranked"):
        total = total.unranked()
    log_z = outward_log_prob(arcs, decisions, length)
    if hasattr(total, "attach"):
        return total.attach(log_z, *outward_shares(arcs.detach(), decisions.detach(), length, log_z.detach()))
    if total is not maximum and total is not sampled:
        return log_z
    share_of, whole_of = (share_of_best, best_of) if total is maximum else (share_of_drawn, sum_of)
    arcs, decisions, lengths, batch = outward_rows(arcs, decisions, length)
    with torch.no_grad():
        found = outward_summed(arcs, decisions, lengths, whole_of, share_of)[1:]
    both = zip((arcs, decisions), found, strict=True)
    parts = [torch.where(times > 0, each * times.to(each.dtype), 0.0).flatten(1).sum(1) for each, times in both]
    score = (parts[0] + parts[1]).view(batch)
    value = score if total is maximum else score + (log_z - score).detach()
    return torch.where(log_z > -torch.inf, value, -torch.inf)


def outward_score(arcs: Tensor, decisions: Tensor, heads: Tensor, length: Tensor | None = None) -> Tensor:
    """The score (*B,) of trees that are told, heads (*B, n), 0 the root and h the h-th element."""
    n = heads.shape[-1]
    at = torch.arange(1, n + 1, device=heads.device)
    counts = torch.ones_like(heads, dtype=torch.bool) if length is None else inside(length, n)
    heads, after = torch.where(counts, heads, 0), (heads < at).long()
    one, other = heads.unsqueeze(-1), heads.unsqueeze(-2)
    beside = (one == other) & (after.unsqueeze(-1) == after.unsqueeze(-2)) & counts.unsqueeze(-2)
    nearer = (at - other).abs() < (at.unsqueeze(-1) - one).abs()
    first = (~(beside & nearer).any(-1)).long()
    arc = arcs.expand(*heads.shape, n + 1, 2).gather(-2, one.unsqueeze(-1).expand(*heads.shape, 1, 2)).squeeze(-2)
    score = torch.where(counts, arc.gather(-1, first.unsqueeze(-1)).squeeze(-1), 0.0).sum(-1)
    place = (heads - 1).clamp(min=0) * 4 + after * 2 + first  # of the decision to take each element
    hung = (counts & (heads > 0)).to(decisions.dtype)
    went = torch.zeros(*heads.shape[:-1], 4 * n, dtype=decisions.dtype, device=heads.device).scatter_add(-1, place, hung)
    went = went.view(*heads.shape, 2, 2)
    none = (went[..., 1] == 0).to(went.dtype)
    times = torch.stack([torch.stack([1 - none, none], -1), went], -1) * counts[..., None, None, None]
    return score + torch.where(times > 0, times * decisions, 0.0).flatten(-4).sum(-1)


def outward_shares(arcs: Tensor, decisions: Tensor, length: Tensor | None, log_z: Tensor) -> tuple[Tensor, Tensor]:
    """How often each arc and each decision is expected, and scores that sum to the log-probability of a tree (*B, all of both):
    log Z is taken from those of the arcs from the root, of which a tree has one."""
    arcs, decisions, lengths, batch = outward_rows(arcs, decisions, length)
    _, *found = outward_summed(arcs, decisions, lengths, sum_of, share_of_sum)
    share = arcs.clone()
    share[:, :, 0] -= log_z.masked_fill(log_z == -torch.inf, 0.0).reshape(-1)[:, None, None]
    times, shares = ([each.flatten(1) for each in both] for both in (found, (share, decisions)))
    return torch.cat(times, 1).to(arcs.dtype).view(*batch, -1), torch.cat(shares, 1).view(*batch, -1)


def outward_rows(arcs: Tensor, decisions: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor, Tensor, torch.Size]:
    """Arcs (B, n, 1 + n, 2), decisions (B, n, 2, 2, 2), lengths (B,), and the shape of what B is."""
    arcs = along_lengths(arcs, length, 3)
    batch = torch.broadcast_shapes(arcs.shape[:-3], decisions.shape[:-4])
    full = torch.full(batch, arcs.shape[-3], device=arcs.device) if length is None else length.expand(batch)
    arcs = arcs.expand(*batch, *arcs.shape[-3:]).reshape(batch.numel(), *arcs.shape[-3:])
    decisions = decisions.expand(*batch, *decisions.shape[-4:]).reshape(batch.numel(), *decisions.shape[-4:])
    return arcs, decisions, full.reshape(batch.numel()), batch


# ---- log Z and expected numbers


@torch.library.custom_op(unused("outward_sums"), mutates_args=())
def outward_sums(arcs: Tensor, decisions: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    """log Z (B,) and, if grad, the arcs' probabilities and how often each decision is expected."""
    log_z, *found = outward_summed(arcs, decisions, length, sum_of, share_of_sum if grad else None)
    return log_z.to(arcs.dtype, copy=True), found[0].to(arcs.dtype), found[1].to(decisions.dtype)


@outward_sums.register_fake
def outward_shapes(arcs: Tensor, decisions: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    own = (arcs.shape, decisions.shape) if grad else (0, 0)
    return arcs.new_empty(len(arcs)), arcs.new_empty(own[0]), decisions.new_empty(own[1])


def outward_save(ctx, inputs, output) -> None:
    ctx.save_for_backward(*output[1:])


def outward_gradient(ctx, g: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None, None]:
    arcs, decisions = ctx.saved_tensors
    return g[:, None, None, None] * arcs, g[:, None, None, None, None] * decisions, None, None


outward_sums.register_autograd(first_derivative(outward_gradient), setup_context=outward_save)


def outward_summed(arcs: Tensor, decisions: Tensor, length: Tensor, whole_of, share_of) -> tuple[Tensor, Tensor, Tensor]:
    """The whole (B,) and, where shares are asked for, those of arcs and of decisions, in float64."""
    n, counts = arcs.shape[1], inside(length, arcs.shape[1])
    possible = counts[:, :, None] & F.pad(counts, (1, 0), value=True)[:, None]
    arcs = arcs.double().masked_fill(~possible[..., None], -torch.inf)
    decisions = decisions.double().masked_fill(~counts[:, :, None, None, None], 0.0)
    if n == 0:
        return arcs.new_zeros(len(arcs)), arcs, decisions
    left, right, wholes = outward_chart(arcs, decisions, whole_of)
    hanging = below_root_outward(arcs, length, left)
    log_z = torch.where(length > 0, whole_of(hanging), 0.0)
    if share_of is None:
        return log_z, arcs.new_empty(0), arcs.new_empty(0)
    root = share_of(hanging, log_z).masked_fill(length[:, None] == 0, 0)
    return log_z, *outward_sweep(arcs, length, left, right, wholes, root, share_of)


def outward_chart(arcs: Tensor, decisions: Tensor, whole_of) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """What stands left in the products, going right, closed right, laid right, closed left, and what stands right, closed left,
    going left, closed right, laid left, (4, B, n, n) each; and of each width what is laid, right and left, and what hangs from
    the first element and from the last (2, B, n - width)."""
    B, n = arcs.shape[:2]
    left, right = arcs.new_full((2, PRODUCTS, B, n, n), -torch.inf)
    before, after = decisions.unbind(2)  # (B, n, 2, 2) by whether it is the first, and whether to go on
    left[0, :, :, 0], left[1, :, :, 0] = after[:, :, 1, 1], after[:, :, 1, 0]
    left[3, :, :, 0], right[2, :, :, n - 1] = before[:, :, 1, 0], after[:, :, 1, 0]
    right[0, :, :, n - 1], right[1, :, :, n - 1] = before[:, :, 1, 0], before[:, :, 1, 1]
    wholes = [(arcs.new_empty(0), arcs.new_empty(0))]
    for w in range(1, n):
        laid = whole_of(arcs_laid(arcs, left, right, w))
        left[2, :, : n - w, w - 1], right[3, :, w:, n - w] = laid
        hung = whole_of(left[2:, :, : n - w, :w] + right[2:, :, w:, n - w :])
        stop, go = after[:, : n - w, 0].unbind(-1)
        left[0, :, : n - w, w] = hung[0] + go
        left[1, :, : n - w, w] = right[2, :, w:, n - 1 - w] = hung[0] + stop
        stop, go = before[:, w:, 0].unbind(-1)
        left[3, :, : n - w, w] = right[0, :, w:, n - 1 - w] = hung[1] + stop
        right[1, :, w:, n - 1 - w] = hung[1] + go
        wholes.append((laid, hung))
    return left, right, wholes


def arcs_laid(arcs: Tensor, left: Tensor, right: Tensor, w: int) -> Tensor:
    """The terms of arcs, right and left, over each stretch of a width (2, B, n - w, w)."""
    n = arcs.shape[1]
    terms = left[:2, :, : n - w, :w] + right[:2, :, w:, n - w :]
    own = arcs[:, :, 1:]
    forth, back = (own.diagonal(-w, 1, 2).mT, own.diagonal(w, 1, 2).mT)  # (B, n - w, 2) of the last, and of the first element
    terms[0, ..., 1:] += forth[..., :1]
    terms[0, ..., 0] += forth[..., 1]
    terms[1, ..., :-1] += back[..., :1]
    terms[1, ..., -1] += back[..., 1]
    return terms


def below_root_outward(arcs: Tensor, length: Tensor, left: Tensor) -> Tensor:
    """The weight of all trees below each element (B, n)."""
    width = last_width(length, arcs.shape[1])
    after = left[1].gather(2, width.clamp(min=0)[:, :, None])[:, :, 0]
    return (left[3, :, 0] + after + arcs[:, :, 0, 1]).masked_fill(width < 0, -torch.inf)


def outward_sweep(
    arcs: Tensor, length: Tensor, left: Tensor, right: Tensor, wholes: list[tuple[Tensor, Tensor]], root: Tensor, share_of
) -> tuple[Tensor, Tensor]:
    """The shares of arcs and decisions: how much of the whole goes through each, from the widest stretch to the narrowest."""
    B, n = arcs.shape[:2]
    of_arcs, of_decisions = torch.zeros_like(arcs), arcs.new_zeros(B, n, 2, 2, 2)
    of_left, of_right = torch.zeros_like(left), torch.zeros_like(right)
    of_arcs[:, :, 0, 1] = of_left[3, :, 0] = root
    of_left[1].scatter_(2, last_width(length, n).clamp(min=0)[:, :, None], root[:, :, None])
    own = of_arcs[:, :, 1:]
    for w in range(n - 1, 0, -1):
        laid, hung = wholes[w]
        through = decided_outward(of_left, of_right, of_decisions, w)
        share = share_of(left[2:, :, : n - w, :w] + right[2:, :, w:, n - w :], hung).mul_(through[..., None])
        of_left[2:, :, : n - w, :w] += share
        of_right[2:, :, w:, n - w :] += share
        through = torch.stack([of_left[2, :, : n - w, w - 1], of_right[3, :, w:, n - w]])
        share = share_of(arcs_laid(arcs, left, right, w), laid).mul_(through[..., None])
        of_left[:2, :, : n - w, :w] += share
        of_right[:2, :, w:, n - w :] += share
        own.diagonal(-w, 1, 2).copy_(torch.stack([share[0, ..., 1:].sum(-1), share[0, ..., 0]], 1))
        own.diagonal(w, 1, 2).copy_(torch.stack([share[1, ..., :-1].sum(-1), share[1, ..., -1]], 1))
    decided_outward(of_left, of_right, of_decisions, 0)
    return of_arcs, of_decisions


def decided_outward(of_left: Tensor, of_right: Tensor, of_decisions: Tensor, w: int) -> Tensor:
    """How much of the whole goes through each stretch of a width under its first element, and its last, before it decides
    (2, B, n - w); which decisions those are is noted."""
    n = of_left.shape[-1]
    first = int(w == 0)
    going = torch.stack([of_left[0, :, : n - w, w], of_right[1, :, w:, n - 1 - w]])
    closed = of_left[1::2, :, : n - w, w] + of_right[::2, :, w:, n - 1 - w].flip(0)
    of_decisions[:, : n - w, 1, first] += torch.stack([closed[0], going[0]], -1)
    of_decisions[:, w:, 0, first] += torch.stack([closed[1], going[1]], -1)
    return going + closed
