"""Sums over binary trees whose nodes have labels, each stretch scored by itself (a tree conditional random field): log Z with
exact gradients by one chart over stretches and one sweep back, and under other algebras. O(n² L + n³) time, n² L numbers a row.

    Z = Σ_trees Π_nodes exp scores[first element, last element, label of the node]

A single element is a node too, and the whole is one. scores (*B, n, n, L) by first and last element, in nats, not read where
the last stands before the first; seen (*B, n, L), what each label of a single element has besides; length (*B,) says how many
elements count. No elements have no tree: Z = 0. Labels are summed first, so that the chart has one number a stretch:

    whole[i, j] = log Σ_labels exp scores[i, j] + log Σ_{i <= k < j} exp(whole[i, k] + whole[k+1, j])

All stretches of one width are computed at once, as in kernels/trees/projective.py: what stands left lies by its first element,
the width last; what stands right by its last element, the width last and backwards."""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.rows import along_lengths
from vispec.kernels.sums.chain import unused
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.trees.brackets import algebra_of, counted, told_of


def span_scores(first: Tensor, last: Tensor) -> Tensor:
    """The score of each label over each stretch (*B, n, n, L): the inner product of the vectors that its first and its last
    element have for that label, (*B, n, L, H) each."""
    return (first.transpose(-3, -2) @ last.transpose(-3, -2).mT).movedim(-3, -1)


def spans_log_prob(scores: Tensor, seen: Tensor, length: Tensor | None = None) -> Tensor:
    """log Z (*B,), -inf where no tree is possible. Its gradients are the probabilities of nodes, 0 without a tree."""
    seen = along_lengths(seen, length, 2)
    if scores.shape[-3] == 0:
        return spans_by(log_sum_exp, scores, seen, length)
    nodes, lengths = labels_summed(log_sum_exp, scores, seen, length)
    grad = torch.is_grad_enabled() and nodes.requires_grad
    found = span_sums(nodes.reshape(-1, *nodes.shape[-2:]), lengths.reshape(-1), grad)[0]
    return found.view(lengths.shape)


def labels_summed(total, scores: Tensor, seen: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor]:
    """The sum over the labels of each stretch (*B, n, n), and the lengths (*B,)."""
    n = scores.shape[-3]
    batch = torch.broadcast_shapes(scores.shape[:-3], seen.shape[:-2])
    single = torch.eye(n, dtype=torch.bool, device=scores.device).unsqueeze(-1)
    each = total(torch.where(single, scores + seen.unsqueeze(-2), scores).expand(*batch, *scores.shape[-3:]))
    return each, torch.full(batch, n, device=scores.device) if length is None else length.expand(batch)


def spans_total(total, scores: Tensor, seen: Tensor, length: Tensor | None = None) -> Tensor:
    """The sum over trees under an algebra (*B,), which may ask for the nodes."""
    if hasattr(total, "unranked"):
        total = total.unranked()
    seen = along_lengths(seen, length, 2)
    if hasattr(total, "tilts"):
        batch = torch.broadcast_shapes(scores.shape[:-3], seen.shape[:-2])
        return spans_by(total, scores + total.tilt(scores, (*batch, *scores.shape[-3:])), seen, length)
    if total is log_sum_exp:
        return spans_log_prob(scores, seen, length)
    return spans_by(total, scores, seen, length)


def spans_by(total, scores: Tensor, seen: Tensor, length: Tensor | None = None) -> Tensor:
    """The same, which sums by total alone, and is slower."""
    seen = along_lengths(seen, length, 2)
    n = scores.shape[-3]
    if n == 0:
        batch = torch.broadcast_shapes(scores.shape[:-3], seen.shape[:-2])
        return (scores.sum((-3, -2, -1)) + seen.sum((-2, -1))).expand(batch) - torch.inf
    nodes, lengths = labels_summed(total, scores.double(), seen.double(), length)
    charts = [nodes.diagonal(0, -2, -1)]
    for w in range(1, n):
        ways = [charts[k][..., : n - w] + charts[w - 1 - k][..., k + 1 :] for k in range(w)]
        charts.append(total(torch.stack(ways, -1)) + nodes.diagonal(w, -2, -1))
    tops = torch.stack([chart[..., 0] for chart in charts], -1)
    found = tops.gather(-1, (lengths - 1).clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where((lengths > 0) & (found > -torch.inf), found, -torch.inf).to(scores.dtype)


def spans_score(scores: Tensor, told: Tensor, length: Tensor | None = None) -> Tensor:
    """The score of one whole tree (*B,), told (*B, n, 4) as in kernels/trees/brackets.py."""
    n, L = scores.shape[-3], scores.shape[-1]
    at, inside = torch.arange(n, device=told.device), counted(told, length)
    own, first, last, label = told.clamp(min=0).unbind(-1)
    places = torch.cat([(at * n + at) * L + own, (first.clamp(max=n - 1) * n + last.clamp(max=n - 1)) * L + label], -1)
    each = scores.expand(*told.shape[:-2], n, n, L).flatten(-3).gather(-1, places)
    phrase = at < inside.sum(-1, keepdim=True) - 1
    return torch.where(torch.cat([inside, phrase], -1), each, 0.0).sum(-1)


def decide_spans(scores: Tensor, seen: Tensor, length: Tensor | None, rule: str) -> Tensor:
    """A tree by the rule "sample" or "mode" as data tell it (*B, n, 4), int64 (kernels/trees/brackets.py)."""
    with torch.enable_grad():
        scores = along_lengths(scores, length, 3).detach().requires_grad_()
        found = spans_by(algebra_of(rule), scores, seen.detach(), length)
        (nodes,) = torch.autograd.grad(found.sum(), scores, allow_unused=True, materialize_grads=True)
    return told_of(nodes, nodes.diagonal(0, -3, -2).mT, length)


# ---- log Z and the probabilities of nodes


@torch.library.custom_op(unused("span_sums"), mutates_args=())
def span_sums(nodes: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    """log Z (B,) of the sums over labels (B, n, n) and, if grad, the probability of each node (B, n, n)."""
    B, n, _ = nodes.shape
    each = nodes.double()
    left, right = each.new_full((2, B, n, n), -torch.inf)
    left[:, :, 0] = right[:, :, n - 1] = each.diagonal(0, 1, 2)
    ways = list[Tensor]()
    for w in range(1, n):
        ways.append(torch.logsumexp(left[:, : n - w, :w] + right[:, w:, n - w :], -1))
        left[:, : n - w, w] = right[:, w:, n - 1 - w] = ways[-1] + each.diagonal(w, 1, 2)
    row, top = torch.arange(B, device=nodes.device), (length - 1).clamp(min=0)
    log_z = left[row, 0, top].masked_fill(length < 1, -torch.inf)
    if not grad:
        return log_z.to(nodes.dtype, copy=True), nodes.new_empty(0)
    of_left, of_right = torch.zeros_like(left), torch.zeros_like(right)
    of_left[row, 0, top] = (log_z > -torch.inf).double()
    found, least = torch.zeros_like(each), torch.finfo(each.dtype).min
    for w in range(n - 1, 0, -1):
        through = of_left[:, : n - w, w] + of_right[:, w:, n - 1 - w]
        found.diagonal(w, 1, 2).copy_(through)
        share = (left[:, : n - w, :w] + right[:, w:, n - w :]).sub_(ways[w - 1].clamp(min=least)[..., None]).exp_()
        share *= through[..., None]
        of_left[:, : n - w, :w] += share
        of_right[:, w:, n - w :] += share
    found.diagonal(0, 1, 2).copy_(of_left[:, :, 0] + of_right[:, :, n - 1])
    return log_z.to(nodes.dtype, copy=True), found.to(nodes.dtype)


@span_sums.register_fake
def span_shapes(nodes: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    return nodes.new_empty(len(nodes)), nodes.new_empty(nodes.shape if grad else 0)


def span_save(ctx, inputs, output) -> None:
    ctx.save_for_backward(output[1])


def span_gradient(ctx, g: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    (found,) = ctx.saved_tensors
    return g[:, None, None] * found, None, None


span_sums.register_autograd(first_derivative(span_gradient), setup_context=span_save)
