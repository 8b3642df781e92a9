"""Sums over dependency trees: log Z with exact gradients, the best tree, samples.

    Z = Σ_trees Π_i exp scores[i, head of i]

scores are (*B, n, 1 + n): element i hangs from the root by the arc (i, 0), from element h - 1 by the arc (i, h); exactly one
hangs from the root, or, without one_root, any number. An arc of -inf is impossible, arcs from an element to itself do not
count, and length (*B,) says how many elements each tree has; the rest is ignored. A tree of no elements has Z = 1.

A determinant (Koo et al. 2007) loses every digit where two elements strongly want each other for a head: the two products
that it subtracts agree to the last one. So elements are eliminated one by one, as in the determinant's LU factorisation, but
without a subtraction (Grassmann, Taksar and Heyman 1985), and in log space where scores are far apart: an element k of weight
s, the sum over its heads, becomes an arc of weight w(h → k) w(k → j) / s for each h and j. The arc from the root is infinitely
light compared with the others until it is the only way on; the leading order then has it once.

Trees of which any number of elements hang from the root are those with one root of one element more, which hangs from the root
and stands in its place for all others.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.rows import along_lengths
from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.trees.arborescence import best_tree
from vispec.kernels.trees.elimination import eliminate_logs, inside, tree_sums, weights_of_arcs


def tree_log_prob(scores: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """log Z (*B,), -inf where no tree is possible. Its gradient is the arcs' probabilities, 0 without a tree."""
    scores = along_lengths(scores, length, 2)
    grad = torch.is_grad_enabled() and scores.requires_grad
    return tree_sums(*flat_trees(scores, length, one_root), grad)[0].view(scores.shape[:-2])


def tree_mode(scores: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """The heads of the best tree (*B, n), int64; 0 past a tree's length."""
    flat, lengths = flat_trees(scores.detach(), length, one_root)
    heads = torch.zeros(flat.shape[:2], dtype=torch.long)
    for row, (score, size) in enumerate(zip(flat.tolist(), lengths.tolist(), strict=True)):
        heads[row, :size] = torch.tensor(best_tree(score, size), dtype=torch.long)
    return heads_of(heads.to(scores.device), scores, one_root)


@torch.no_grad()
def tree_sample(scores: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """The heads of a tree drawn from the posterior (*B, n), int64; 0 past a tree's length, and where there is no tree.

    Elements come back in the order opposite to their elimination. An arc into j from its head so far leads through k with the
    share that this way has in the arc's weight, which is summed anew: the weights between are not kept."""
    flat, lengths = flat_trees(scores, length, one_root)
    B, n = flat.shape[:2]
    heads = torch.zeros(B, n, dtype=torch.long, device=flat.device)
    if n == 0:
        return heads_of(heads, scores, one_root)
    weights = weights_of_arcs(flat.double(), lengths)[0]
    log_z, shares, onward, _, rooted, first = eliminate_logs(weights.clone(), lengths)
    at = torch.arange(n, device=flat.device)
    for k in range(n):
        over = heads[:, None, :k]
        ways = torch.cat(
            [weights[:, :, :k].gather(1, over), shares[:, k:].gather(2, over.expand(B, n - k, k)) + onward[:, k:, :k]], 1
        )
        second = (over == 0) & (at[:k] < first[:, None])[:, None]  # a second root, until the first had its place
        ways.masked_fill_(second & F.pad(at[k:] > first[:, None], (1, 0), value=True)[:, :, None], -torch.inf)
        probability = (ways[:, 1] - ways.logsumexp(1).clamp(min=torch.finfo(ways.dtype).min)).exp()
        below = torch.rand_like(probability) < probability
        above, cut = (F.pad(x, (1, 0)) for x in (heads[:, :k], below))
        for _ in range(k.bit_length()):  # whatever hangs from an element that is to hang from k
            cut, above = cut | cut.gather(1, above), above.gather(1, above)
        share = shares[:, k, : k + 1].masked_fill(cut, -torch.inf)
        share[:, 0].masked_fill_(~rooted[:, k], -torch.inf)
        share[:, 0].masked_fill_(share.amax(1) == -torch.inf, 0)  # nothing else is left: the arc from the root leads through k
        heads[:, k] = torch.multinomial(share.softmax(1), 1)[:, 0]
        heads[:, :k].masked_fill_(below, k + 1)
    heads.masked_fill_(~inside(lengths, n) | (log_z == -torch.inf)[:, None], 0)
    return heads_of(heads, scores, one_root)


def tree_total(total, scores: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """The sum over trees under an algebra (*B,): its gradient is the arcs' probabilities, the best tree, or a tree drawn."""
    return total_of_trees(total, scores, length, one_root, tree_log_prob, tree_mode, tree_sample)


def total_of_trees(total, scores: Tensor, length: Tensor | None, one_root: bool, log_prob, mode, sample) -> Tensor:
    """The sum of such trees as these three functions have, under an algebra."""
    if hasattr(total, "unranked"):
        total = total.unranked()
    scores = along_lengths(scores, length, 2)
    log_z = log_prob(scores, length, one_root)
    if hasattr(total, "attach"):
        return total.attach(log_z, *tree_shares(scores.detach(), length, one_root, log_prob), dims=2)
    if total is not maximum and total is not sampled:
        return log_z
    heads = (mode if total is maximum else sample)(scores, length, one_root)
    score = tree_score(scores, heads, length)
    value = score if total is maximum else score + (log_z - score).detach()
    return torch.where(log_z > -torch.inf, value, -torch.inf)


def tree_shares(scores: Tensor, length: Tensor | None, one_root: bool, log_prob) -> tuple[Tensor, Tensor]:
    """The probability of each arc, and scores that sum to the log-probability of a tree (*B, n, 1 + n): log Z is taken from
    those of the first element, which has one head."""
    with torch.enable_grad():
        scores = scores.detach().requires_grad_()
        log_z = log_prob(scores, length, one_root)
        (p,) = torch.autograd.grad(log_z.sum(), scores)
    shares = scores.detach().clone()
    shares[..., :1, :] -= log_z.detach().masked_fill(log_z == -torch.inf, 0.0)[..., None, None]
    return p, shares


def tree_score(scores: Tensor, heads: Tensor, length: Tensor | None = None) -> Tensor:
    """Σ_i scores[i, heads[i]] (*B,) over the elements that count."""
    found = scores.gather(-1, heads.expand(scores.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    return found.sum(-1) if length is None else found.masked_fill(~inside(length, found.shape[-1]), 0).sum(-1)


def is_tree(heads: Tensor, length: Tensor | None = None, one_root: bool = True) -> Tensor:
    """Whether the heads (*B, n) are a tree, bool (*B,); one of no elements is."""
    n = heads.shape[-1]
    counts = torch.ones_like(heads, dtype=torch.bool) if length is None else inside(length, n)
    above = F.pad(heads.masked_fill(~counts, 0), (1, 0))
    for _ in range(n.bit_length()):
        above = above.gather(-1, above)
    roots = ((heads == 0) & counts).sum(-1)
    return (above == 0).all(-1) & ((roots == counts.any(-1)) if one_root else (roots >= counts.any(-1)))


def tree_depth(heads: Tensor) -> Tensor:
    """How many arcs lead from the root to each element (*B, n): 1 for those that hang from it."""
    above, depth = F.pad(heads, (1, 0)), F.pad(torch.ones_like(heads), (1, 0))
    for _ in range(heads.shape[-1].bit_length()):
        depth, above = depth + depth.gather(-1, above), above.gather(-1, above)
    return depth[..., 1:]


def log_number_of_trees(length: Tensor, one_root: bool = True) -> Tensor:
    """log n^(n-1), how many trees with one root n elements have, or log (n+1)^(n-1) with any number of roots (Cayley); of the
    dtype of a floating-point `length`."""
    return torch.xlogy((length - 1).clamp(min=0), length.clamp(min=1) + (not one_root))


def arc_scores(head: Tensor, dependent: Tensor, root: Tensor) -> Tensor:
    """head and dependent (*B, n, H), root (*B, n), leading axes broadcast → scores (*B, n, 1 + n), inner products."""
    arcs = dependent @ head.mT
    lead = torch.broadcast_shapes(arcs.shape[:-1], root.shape)
    return torch.cat([root.expand(lead).unsqueeze(-1), arcs.expand(*lead, -1)], -1)


def decide_tree(scores: Tensor, length: Tensor | None, rule: str, read: bool, one_root: bool = True) -> Tensor:
    """Heads (*B, n) by the rule "sample" or "mode"; "mean" is (*B, n, 1 + n), each arc's probability, unless read."""
    return decided(scores, length, rule, read, one_root, tree_log_prob, tree_mode, tree_sample)


def decided(scores: Tensor, length: Tensor | None, rule: str, read: bool, one_root: bool, log_prob, mode, sample) -> Tensor:
    """The same of such trees as these three functions have."""
    scores = along_lengths(scores, length, 2)
    if rule == "sample":
        return sample(scores, length, one_root)
    if rule == "mode" or read:
        return mode(scores, length, one_root)
    return tree_shares(scores, length, one_root, log_prob)[0]


def flat_trees(scores: Tensor, length: Tensor | None, one_root: bool = True) -> tuple[Tensor, Tensor]:
    """Scores (B, n, 1 + n) and lengths (B,) of trees with one root; n is one more where there may be any number."""
    batch, n = scores.shape[:-2], scores.shape[-2]
    full = torch.full(batch, n, device=scores.device) if length is None else length.expand(batch)
    flat, lengths = scores.reshape(batch.numel(), n, n + 1), full.reshape(batch.numel())
    if one_root:
        return flat, lengths
    stand_in = F.pad(flat.new_zeros(len(flat), 1, 1), (0, n + 1), value=-torch.inf)
    return torch.cat([stand_in, F.pad(flat, (1, 0), value=-torch.inf)], 1), lengths + 1


def heads_of(heads: Tensor, scores: Tensor, one_root: bool) -> Tensor:
    """The heads (*B, n) in those of the trees of flat_trees."""
    return (heads if one_root else (heads[:, 1:] - 1).clamp(min=0)).view(scores.shape[:-1])
