"""Sums over projective dependency trees, whose arcs do not cross above the elements: log Z with exact gradients, the best tree,
samples, all by one chart over stretches of elements (Eisner 1996), O(n³) time and 6 n² numbers a row.

Scores and lengths are as in kernels/trees/tree.py; the root stands before the first element. A stretch i..j is

    complete, under its first or its last element, which is the head of all between; or
    incomplete, the arc between i and j laid and the halves below each of them joined.

    joined[i, j] = Σ_{i <= k < j} right[i, k] left[k+1, j]
    arc right[i, j] = joined[i, j] exp s(i → j)              arc left[i, j] = joined[i, j] exp s(j → i)
    right[i, j] = Σ_{i < k <= j} (arc right)[i, k] right[k, j]   left[i, j] = Σ_{i <= k < j} left[i, k] (arc left)[k, j]
    Z = Σ_r left[0, r] right[r, n-1] exp root(r)

All stretches of one width are computed at once. What stands left in a product lies by its first element, the width last; what
stands right by its last element, the width last and backwards: so both are slices. The way back goes from the widest stretch to
the narrowest and gives each term its share: its probability, all or nothing to the best one, or to a drawn one.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.backward import first_derivative
from vispec.kernels.rows import along_lengths
from vispec.kernels.sums.chain import unused
from vispec.kernels.trees.elimination import inside
from vispec.kernels.trees.tree import decided, flat_trees, heads_of, is_tree, total_of_trees

PARTS = 3  # of products: an arc right and what is right of it; what is left of an arc left and it; two halves to be joined


def projective_log_prob(scores: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """log Z (*B,), -inf where no tree is possible. Its gradient is the arcs' probabilities, 0 without a tree."""
    scores = along_lengths(scores, length, 2)
    grad = torch.is_grad_enabled() and scores.requires_grad
    sums = projective_sums if torch.compiler.is_compiling() else PROJECTIVE_SUMS[-1]
    return sums(*flat_trees(scores, length, one_root), grad)[0].view(scores.shape[:-2])


def projective_mode(scores: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """The heads of the best tree (*B, n), int64; 0 past a tree's length."""
    arcs = summed_up(*flat_trees(scores.detach(), length, one_root), best_of, share_of_best)[1]
    return heads_of(arcs.argmax(-1), scores, one_root)


@torch.no_grad()
def projective_sample(scores: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """The heads of a tree drawn from the posterior (*B, n), int64; 0 past a tree's length, and where there is no tree."""
    log_z, arcs = summed_up(*flat_trees(scores, length, one_root), sum_of, share_of_drawn)
    return heads_of(arcs.argmax(-1).masked_fill(log_z[:, None] == -torch.inf, 0), scores, one_root)


def projective_total(total, scores: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """The sum over trees under an algebra (*B,): its gradient is the arcs' probabilities, the best tree, or a tree drawn."""
    return total_of_trees(total, scores, length, one_root, projective_log_prob, projective_mode, projective_sample)


def decide_projective(scores: Tensor, length: Tensor | None, rule: str, read: bool, one_root: bool = True) -> Tensor:
    """Heads (*B, n) by the rule "sample" or "mode"; "mean" is (*B, n, 1 + n), each arc's probability, unless read."""
    return decided(scores, length, rule, read, one_root, projective_log_prob, projective_mode, projective_sample)


def is_projective(heads: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """Whether the heads (*B, n) are a projective tree, bool (*B,); one of no elements is."""
    n = heads.shape[-1]
    at = torch.arange(1, n + 1, device=heads.device).expand(heads.shape)
    first, last = torch.minimum(heads, at), torch.maximum(heads, at)
    if length is not None:
        first, last = (end.masked_fill(~inside(length, n), 0) for end in (first, last))
    one, other = (lambda end: end.unsqueeze(-1)), (lambda end: end.unsqueeze(-2))
    cross = (one(first) < other(first)) & (other(first) < one(last)) & (one(last) < other(last))
    return is_tree(heads, length, one_root) & ~cross.flatten(-2).any(-1)


def log_number_of_projective(length: Tensor, one_root: bool = True) -> Tensor:
    """How many projective trees n elements have: C(3n - 2, n - 1) / n with one root, C(3n, n) / (2n + 1) with any number."""
    n = length.clamp(min=1)
    if one_root:
        return torch.where(length < 2, 0.0, (3 * n - 1).lgamma() - (2 * n).lgamma() - (n + 1).lgamma())
    return torch.where(length < 2, 0.0, (3 * n + 1).lgamma() - (2 * n + 2).lgamma() - (n + 1).lgamma())


# ---- log Z and the arcs' probabilities


@torch.library.custom_op(unused("projective_sums"), mutates_args=())
def projective_sums(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    """log Z (B,) and, if grad, the arcs' probabilities (B, n, 1 + n)."""
    log_z, arcs = summed_up(scores, length, sum_of, share_of_sum if grad else None)
    return log_z.to(scores.dtype), arcs.to(scores.dtype)


@projective_sums.register_fake
def projective_shapes(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    return scores.new_empty(len(scores)), scores.new_empty(scores.shape if grad else 0)


def projective_save(ctx, inputs, output) -> None:
    ctx.save_for_backward(output[1])


def projective_gradient(ctx, g: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    (arcs,) = ctx.saved_tensors
    return g[:, None, None] * arcs, None, None


projective_sums.register_autograd(first_derivative(projective_gradient), setup_context=projective_save)
PROJECTIVE_SUMS: list = [projective_sums]  # the last one is asked


def summed_up(scores: Tensor, length: Tensor, whole_of, share_of) -> tuple[Tensor, Tensor]:
    """The whole (B,) and, where shares are asked for, those of the arcs (B, n, 1 + n), in float64."""
    counts = inside(length, scores.shape[1])
    scores = scores.double().masked_fill(~(counts[:, :, None] & F.pad(counts, (1, 0), value=True)[:, None]), -torch.inf)
    left, right, joined = chart(scores, length, whole_of)
    return joined[0], scores.new_empty(0) if share_of is None else sweep(scores, length, left, right, joined, share_of)


def sum_of(terms: Tensor) -> Tensor:
    return torch.logsumexp(terms, -1)


def best_of(terms: Tensor) -> Tensor:
    return terms.amax(-1)


def share_of_sum(terms: Tensor, whole: Tensor) -> Tensor:
    """The probability of each term; 0 where none is possible."""
    return terms.sub_(whole.clamp(min=torch.finfo(terms.dtype).min).unsqueeze(-1)).exp_()


def share_of_best(terms: Tensor, _: Tensor) -> Tensor:
    return F.one_hot(terms.argmax(-1), terms.shape[-1]).to(terms.dtype)


def share_of_drawn(terms: Tensor, whole: Tensor) -> Tensor:
    return share_of_best(terms.sub_(torch.empty_like(terms).exponential_().log_()), whole)


def chart(scores: Tensor, length: Tensor, whole_of) -> tuple[Tensor, Tensor, list[Tensor]]:
    """What stands left and right in the three products, (3, B, n, n) each; and what is joined, of each width (B, n - width),
    with the whole (B,) in the first place."""
    B, n = scores.shape[:2]
    left, right = scores.new_full((2, PARTS, B, n, n), -torch.inf)
    left[1:, :, :, :1], right[::2, :, :, n - 1 :] = 0.0, 0.0  # an element alone is complete on either side
    arcs, joined = scores[:, :, 1:], [scores.new_zeros(B)]
    for w in range(1, n):
        half = whole_of(left[2, :, : n - w, :w] + right[2, :, w:, n - w :])
        left[0, :, : n - w, w - 1] = half + arcs.diagonal(-w, 1, 2)
        right[1, :, w:, n - w] = half + arcs.diagonal(w, 1, 2)
        full = whole_of(left[:2, :, : n - w, :w] + right[:2, :, w:, n - w :])
        left[2, :, : n - w, w] = right[0, :, w:, n - 1 - w] = full[0]
        left[1, :, : n - w, w] = right[2, :, w:, n - 1 - w] = full[1]
        joined.append(half)
    if n:
        joined[0] = torch.where(length > 0, whole_of(below_root(scores, length, left)), 0.0)
    return left, right, joined


def below_root(scores: Tensor, length: Tensor, left: Tensor) -> Tensor:
    """The weight of all trees below each element (B, n)."""
    width = last_width(length, scores.shape[1])
    after = left[2].gather(2, width.clamp(min=0)[:, :, None])[:, :, 0]
    return (left[1, :, 0] + after + scores[:, :, 0]).masked_fill(width < 0, -torch.inf)


def last_width(length: Tensor, n: int) -> Tensor:
    """How many elements come after each (B, n); below 0 past the length."""
    return length[:, None] - 1 - torch.arange(n, device=length.device)


def sweep(scores: Tensor, length: Tensor, left: Tensor, right: Tensor, joined: list[Tensor], share_of) -> Tensor:
    """The arcs' shares (B, n, 1 + n): how much of the whole goes through each, from the widest stretch to the narrowest."""
    n = scores.shape[1]
    found, of_left, of_right = torch.zeros_like(scores), torch.zeros_like(left), torch.zeros_like(right)
    if n == 0:
        return found
    root = share_of(below_root(scores, length, left), joined[0]).masked_fill_(length[:, None] == 0, 0)
    found[:, :, 0] = of_left[1, :, 0] = root
    of_left[2].scatter_(2, last_width(length, n).clamp(min=0)[:, :, None], root[:, :, None])
    arcs = found[:, :, 1:]
    for w in range(n - 1, 0, -1):
        full = torch.stack([left[2, :, : n - w, w], left[1, :, : n - w, w]])
        through = torch.stack([of_left[2, :, : n - w, w], of_left[1, :, : n - w, w]])
        through += of_right[::2, :, w:, n - 1 - w]
        share = share_of(left[:2, :, : n - w, :w] + right[:2, :, w:, n - w :], full).mul_(through[..., None])
        of_left[:2, :, : n - w, :w] += share
        of_right[:2, :, w:, n - w :] += share
        forth, back = of_left[0, :, : n - w, w - 1], of_right[1, :, w:, n - w]
        arcs.diagonal(-w, 1, 2).copy_(forth)
        arcs.diagonal(w, 1, 2).copy_(back)
        share = share_of(left[2, :, : n - w, :w] + right[2, :, w:, n - w :], joined[w]).mul_((forth + back)[..., None])
        of_left[2, :, : n - w, :w] += share
        of_right[2, :, w:, n - w :] += share
    return found
