"""log Z of dependency trees with one root and the arcs' probabilities, by elimination: what kernels/trees/tree.py says of it,
in memory of a few numbers an arc.

Eliminating element k, whose heads are the root and the elements before it, of weight s = Σ_h w(h → k):

    w'(h → j) = w(h → j) + w(h → k) w(k → j) / s                        log Z(w) = log s + log Z(w')

so the derivatives D of log Z by the weights come back in the opposite order, those by w' being those by w,

    D(k → j) = Σ_h w(h → k)/s D(h → j)         s D(h → k) = 1 - Σ_j w(k → j) D(k → j) + Σ_j w(k → j) D(h → j)

and need of each step the heads' shares and the arcs that lead on from k alone, not the weights between. An arc's probability
is w D. The root's arcs have no part in s until nothing else is left, nor the 1 - Σ of the last formula.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.chain import unused

NEAR = 300.0  # differences of scores whose exponentials may be multiplied without underflow


@torch.library.custom_op(unused("tree_sums"), mutates_args=())
def tree_sums(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    """log Z (B,) and, if grad, the arcs' probabilities (B, n, 1 + n)."""
    if scores.shape[1] == 0:
        return scores.new_zeros(len(scores)), scores.new_zeros(scores.shape)
    w, shift, near = weights_of_arcs(scores.double(), length)
    if near:
        w = w.exp_()
        log_z, *steps = eliminate_numbers(w.clone(), length)
        arcs = w.mul_(derivatives(*steps)) if grad else w
    else:
        log_z, *steps = eliminate_logs(w.clone(), length)
        arcs = log_derivatives(*steps).add_(w).exp_().mul_((log_z > -torch.inf)[:, None, None]) if grad else w
    found = arcs.clamp_(min=0).mT.to(scores.dtype).contiguous() if grad else scores.new_empty(0)
    return (log_z + shift).to(scores.dtype), found


@tree_sums.register_fake
def tree_shapes(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    return scores.new_empty(len(scores)), scores.new_empty(scores.shape if grad else 0)


def tree_save(ctx, inputs, output) -> None:
    ctx.save_for_backward(output[1])


def tree_gradient(ctx, g: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    (arcs,) = ctx.saved_tensors
    return g[:, None, None] * arcs, None, None


tree_sums.register_autograd(first_derivative(tree_gradient), setup_context=tree_save)


def inside(length: Tensor, n: int) -> Tensor:
    """Which elements count (*B, n)."""
    return torch.arange(n, device=length.device) < length.unsqueeze(-1)


def weights_of_arcs(scores: Tensor, length: Tensor) -> tuple[Tensor, Tensor, bool]:
    """The arcs' weights (B, head, dependent) in logs, each element's largest but the root's 0 and the root's largest 0, and by
    how much log Z is then too small (B,); whether no arc is much lighter than others into its element."""
    n = scores.shape[1]
    at = torch.arange(n + 1, device=scores.device)
    counts = F.pad(inside(length, n), (1, 0), value=True)
    possible = (counts[:, 1:, None] & counts[:, None, :] & (at[1:, None] != at)).mT
    w = scores.mT.masked_fill(~possible, -torch.inf)
    top = w[:, 1:].amax(1).nan_to_num(neginf=0.0)  # (B, n)
    root = (w[:, 0] - top).amax(1).nan_to_num(neginf=0.0)  # (B,)
    w[:, 1:].sub_(top[:, None])
    w[:, 0].sub_(top + root[:, None])
    return w, top.sum(1) + root, bool((w.masked_fill(~possible, 0) > -NEAR).all())


def eliminate_numbers(w: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """log Z (B,) from weights that are overwritten. Of each element: its heads' shares (B, n, 1 + n), the arcs that lead on
    from it (B, n, n), its weight, and by how much the root's arcs were made lighter before (B, n). Arcs only gain weight, so
    nothing underflows."""
    B, _, n = w.shape
    shares, onward, (weights, scales) = w.new_zeros(B, n, n + 1), w.new_zeros(B, n, n), w.new_empty(2, B, n)
    w[:, 0, 0].masked_fill_(length == 0, 1)  # what is past the length weighs 1 and leads nowhere
    w[:, 1].masked_fill_(~inside(length, n), 1)
    for k in range(n - 1, -1, -1):
        w[:, 0].div_(torch.amax(w[:, 0, : k + 1], 1, out=scales[:, k])[:, None])
        into = w[:, : k + 1, k]
        weights[:, k] = into[:, 1:].sum(1) if k else into[:, 0]
        share = torch.div(into, weights[:, k, None], out=shares[:, k, : k + 1])
        onward[:, k, :k] = w[:, k + 1, :k]
        w[:, : k + 1, :k].addcmul_(share[:, :, None], onward[:, k, None, :k])
    return (weights.log() + scales.log()).sum(1), shares, onward, weights, scales


def derivatives(shares: Tensor, onward: Tensor, weights: Tensor, scales: Tensor) -> Tensor:
    """Those of log Z by the weights (B, 1 + n, n)."""
    B, n = weights.shape
    found = shares.new_zeros(B, n + 1, n)
    for k in range(n):
        share, on, left = shares[:, k, None, : k + 1], onward[:, k, :k], found[:, : k + 1, :k]
        found[:, k + 1, :k] = to = torch.bmm(share, left)[:, 0]
        into = torch.bmm(left, on[:, :, None])[:, :, 0]
        into[:, k > 0 :] += 1 - (on * to).sum(1, keepdim=True)
        found[:, : k + 1, k] = into.clamp_(min=0) / weights[:, k, None]
        found[:, 0, : k + 1] /= scales[:, k, None]
    return found


def eliminate_logs(w: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The same for any scores, all in logs: exact, and several times slower. In place of scales whether the root's arc has part
    in each element's weight (B, n), and which element was the first to hang from the root for sure (B,)."""
    B, _, n = w.shape
    log_z, shares, onward = w.new_zeros(B), w.new_full((B, n, n + 1), -torch.inf), w.new_full((B, n, n), -torch.inf)
    weights, rooted, first = w.new_zeros(B, n), torch.zeros(B, n, dtype=torch.bool, device=w.device), torch.zeros_like(length)
    has_root = rooted[:, 0].clone()
    for k in range(n - 1, -1, -1):
        into, on = w[:, : k + 1, k], w[:, k + 1, :k]
        others = torch.logsumexp(into[:, 1:], 1) if k else torch.full_like(log_z, -torch.inf)
        only = ~has_root & (others == -torch.inf) & (k < length)  # k must hang from the root
        has_root = has_root | only
        first.masked_fill_(only, k)
        weight = torch.where(has_root, torch.logaddexp(others, into[:, 0]), others)
        log_z = log_z + torch.where(k < length, weight, 0)
        weights[:, k] = weight = weight.masked_fill(weight == -torch.inf, 0)
        shares[:, k, : k + 1] = share = into - weight[:, None]
        onward[:, k, :k], rooted[:, k] = on, has_root
        w[:, 0, :k].masked_fill_(only[:, None], -torch.inf)  # a second root
        w[:, : k + 1, :k] = torch.logaddexp(w[:, : k + 1, :k], share[:, :, None] + onward[:, k, None, :k])
    return log_z, shares, onward, weights, rooted, first


def log_derivatives(shares: Tensor, onward: Tensor, weights: Tensor, rooted: Tensor, first: Tensor) -> Tensor:
    """The same in logs."""
    B, n = weights.shape
    found = shares.new_full((B, n + 1, n), -torch.inf)
    for k in range(n):
        on, left = onward[:, k, :k], found[:, : k + 1, :k]
        found[:, k + 1, :k] = to = torch.logsumexp(shares[:, k, : k + 1, None] + left, 1)
        into = torch.logsumexp(on[:, None] + left, 2)
        own = (1 - (on + to).exp().sum(1, keepdim=True)).expand(B, k + 1).clone()
        own[:, 0].mul_(rooted[:, k])
        top = into.clamp(min=0)
        into = top + ((-top).exp() * own + (into - top).exp()).clamp(min=0).log()
        found[:, : k + 1, k] = into - weights[:, k, None]
        found[:, 0, :k].masked_fill_(((first == k) & rooted[:, k])[:, None], -torch.inf)
    return found
