"""Sums over dependency trees with one root: log Z with exact gradients, the best tree, samples.

    Z = Σ_trees Π_i exp scores[i, head of i]

scores are (*B, n, 1 + n): element i hangs from the root by the arc (i, 0), from element h - 1 by the arc (i, h); exactly one
hangs from the root. An arc of -inf is impossible, arcs from an element to itself do not count, and length (*B,) says how many
elements each tree has; the rest is ignored. A tree of no elements has Z = 1.

A determinant (Koo et al. 2007) loses every digit where two elements strongly want each other for a head: the two products
that it subtracts agree to the last one. So elements are eliminated one by one, as in the determinant's LU factorisation, but
without a subtraction (Grassmann, Taksar and Heyman 1985), and in log space where scores are far apart: an element k of weight
s, the sum over its heads, becomes an arc of weight w(h → k) w(k → j) / s for each h and j. The arc from the root is infinitely
light compared with the others until it is the only way on; the leading order then has it once.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.sums.chain import unused

NEAR = 300.0  # differences of scores whose exponentials may be multiplied without underflow


def tree_log_prob(scores: Tensor, length: Tensor | None = None) -> Tensor:
    """log Z (*B,), -inf where no tree is possible. Its gradient is the arcs' probabilities, 0 without a tree."""
    grad = torch.is_grad_enabled() and scores.requires_grad
    return tree_sums(*flat_trees(scores, length), grad)[0].view(scores.shape[:-2])


def tree_mode(scores: Tensor, length: Tensor | None = None) -> Tensor:
    """The heads of the best tree (*B, n), int64; 0 past a tree's length."""
    flat, lengths = flat_trees(scores.detach(), length)
    heads = torch.zeros(flat.shape[:2], dtype=torch.long)
    for row, (score, size) in enumerate(zip(flat.tolist(), lengths.tolist(), strict=True)):
        heads[row, :size] = torch.tensor(best_tree(score, size), dtype=torch.long)
    return heads.to(scores.device).view(scores.shape[:-1])


@torch.no_grad()
def tree_sample(scores: Tensor, length: Tensor | None = None) -> Tensor:
    """The heads of a tree drawn from the posterior (*B, n), int64; 0 past a tree's length, and where there is no tree."""
    flat, lengths = flat_trees(scores, length)
    (B, n), steps = flat.shape[:2], eliminate(flat.double(), lengths)[1]
    heads = torch.zeros(B, n, dtype=torch.long, device=flat.device)
    for k, (via, share) in zip(range(n), reversed(steps), strict=True):
        probability = via.gather(1, heads[:, None, :k])[:, 0]  # that the arc into j leads through k
        below = torch.rand_like(probability) < probability
        above, cut = (F.pad(x, (1, 0)) for x in (heads[:, :k], below))
        for _ in range(k.bit_length()):  # whatever hangs from an element that is to hang from k
            cut, above = cut | cut.gather(1, above), above.gather(1, above)
        share = share.masked_fill(cut, -torch.inf)
        share[:, 0].masked_fill_(share.amax(1) == -torch.inf, 0)  # nothing else is left: the arc from the root leads through k
        heads[:, k] = torch.multinomial(share.softmax(1), 1)[:, 0]
        heads[:, :k].masked_fill_(below, k + 1)
    return heads.masked_fill(~inside(lengths, n), 0).view(scores.shape[:-1])


def tree_total(total, scores: Tensor, length: Tensor | None = None) -> Tensor:
    """The sum over trees under an algebra (*B,): its gradient is the arcs' probabilities, the best tree, or a tree drawn."""
    log_z = tree_log_prob(scores, length)
    if hasattr(total, "attach"):
        return total.attach(log_z, *tree_shares(scores.detach(), length), dims=2)
    if total is not maximum and total is not sampled:
        return log_z
    heads = tree_mode(scores, length) if total is maximum else tree_sample(scores, length)
    score = tree_score(scores, heads, length)
    value = score if total is maximum else score + (log_z - score).detach()
    return torch.where(log_z > -torch.inf, value, -torch.inf)


def tree_shares(scores: Tensor, length: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The probability of each arc, and scores that sum to the log-probability of a tree (*B, n, 1 + n): log Z is taken from
    those of the first element, which has one head."""
    with torch.enable_grad():
        scores = scores.detach().requires_grad_()
        log_z = tree_log_prob(scores, length)
        (p,) = torch.autograd.grad(log_z.sum(), scores)
    shares = scores.detach().clone()
    shares[..., :1, :] -= log_z.detach().masked_fill(log_z == -torch.inf, 0.0)[..., None, None]
    return p, shares


def tree_score(scores: Tensor, heads: Tensor, length: Tensor | None = None) -> Tensor:
    """Σ_i scores[i, heads[i]] (*B,) over the elements that count."""
    found = scores.gather(-1, heads.expand(scores.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    return found.sum(-1) if length is None else found.masked_fill(~inside(length, found.shape[-1]), 0).sum(-1)


def is_tree(heads: Tensor, length: Tensor | None = None) -> Tensor:
    """Whether the heads (*B, n) are a tree with one root, bool (*B,); one of no elements is."""
    n = heads.shape[-1]
    counts = torch.ones_like(heads, dtype=torch.bool) if length is None else inside(length, n)
    above = F.pad(heads.masked_fill(~counts, 0), (1, 0))
    for _ in range(n.bit_length()):
        above = above.gather(-1, above)
    return (above == 0).all(-1) & (((heads == 0) & counts).sum(-1) == counts.any(-1))


def tree_depth(heads: Tensor) -> Tensor:
    """How many arcs lead from the root to each element (*B, n): 1 for those that hang from it."""
    above, depth = F.pad(heads, (1, 0)), F.pad(torch.ones_like(heads), (1, 0))
    for _ in range(heads.shape[-1].bit_length()):
        depth, above = depth + depth.gather(-1, above), above.gather(-1, above)
    return depth[..., 1:]


def log_number_of_trees(length: Tensor) -> Tensor:
    """log n^(n-1), how many trees with one root n elements have; of the dtype of a floating-point `length`."""
    return torch.xlogy(length - 1, length.clamp(min=1))


def arc_scores(head: Tensor, dependent: Tensor, root: Tensor) -> Tensor:
    """head and dependent (*B, n, H), root (*B, n), leading axes broadcast → scores (*B, n, 1 + n), inner products."""
    arcs = dependent @ head.mT
    lead = torch.broadcast_shapes(arcs.shape[:-1], root.shape)
    return torch.cat([root.expand(lead).unsqueeze(-1), arcs.expand(*lead, -1)], -1)


def decide_tree(scores: Tensor, length: Tensor | None, rule: str, read: bool) -> Tensor:
    """Heads (*B, n) by the rule "sample" or "mode"; "mean" is (*B, n, 1 + n), each arc's probability, unless read."""
    if rule == "sample":
        return tree_sample(scores, length)
    if rule == "mode" or read:
        return tree_mode(scores, length)
    flat, lengths = flat_trees(scores, length)
    return tree_sums(flat, lengths, True)[1].view(scores.shape)


def inside(length: Tensor, n: int) -> Tensor:
    """Which elements count (*B, n)."""
    return torch.arange(n, device=length.device) < length.unsqueeze(-1)


def flat_trees(scores: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scores (B, n, 1 + n) and lengths (B,)."""
    batch, n = scores.shape[:-2], scores.shape[-2]
    full = torch.full(batch, n, device=scores.device) if length is None else length.expand(batch)
    return scores.reshape(batch.numel(), n, n + 1), full.reshape(batch.numel())


# ---- log Z and the arcs' probabilities


@torch.library.custom_op(unused("tree_sums"), mutates_args=())
def tree_sums(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    """log Z (B,) and, if grad, the arcs' probabilities (B, n, 1 + n)."""
    log_z, steps = eliminate(scores.double(), length, keep=grad)
    arcs = arc_marginals(steps, scores) if grad else scores.new_empty(0)
    return log_z.to(scores.dtype), arcs


@tree_sums.register_fake
def tree_shapes(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    return scores.new_empty(len(scores)), scores.new_empty(scores.shape if grad else 0)


def tree_save(ctx, inputs, output) -> None:
    ctx.save_for_backward(output[1])


def tree_gradient(ctx, g: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    (arcs,) = ctx.saved_tensors
    return g[:, None, None] * arcs, None, None


tree_sums.register_autograd(first_derivative(tree_gradient), setup_context=tree_save)


def eliminate(scores: Tensor, length: Tensor, keep: bool = True) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """log Z (B,) and how each element was eliminated, the last one first.

    For element k, with the root and the elements before k left: which share of the arc h → j leads through k (B, 1 + k, k),
    and the logarithm of each head's share in k's weight (B, 1 + k)."""
    n = scores.shape[1]
    if n == 0:
        return scores.new_zeros(len(scores)), []
    at = torch.arange(n + 1, device=scores.device)
    counts = F.pad(inside(length, n), (1, 0), value=True)
    possible = (counts[:, 1:, None] & counts[:, None, :] & (at[1:, None] != at)).mT
    w = scores.mT.masked_fill(~possible, -torch.inf)  # (B, head, dependent)
    top = w[:, 1:].amax(1).nan_to_num(neginf=0.0)  # (B, n)
    root = (w[:, 0] - top).amax(1).nan_to_num(neginf=0.0)  # (B,)
    w[:, 1:].sub_(top[:, None])
    w[:, 0].sub_(top + root[:, None])
    near = bool((w.masked_fill(~possible, 0) > -NEAR).all())
    log_z, steps = (eliminate_numbers if near else eliminate_logs)(w, length, keep)
    return log_z + top.sum(1) + root, steps


def eliminate_numbers(w: Tensor, length: Tensor, keep: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The same where no arc is much lighter than others into its element, so that nothing underflows: arcs only gain weight."""
    log_z, steps = w.new_zeros(len(w)), []
    tiny, w = torch.finfo(w.dtype).tiny, w.exp()
    for k in range(w.shape[2] - 1, -1, -1):
        root = torch.where(length > 0, w[:, 0].amax(1), 1)
        w[:, 0].div_(root[:, None])
        into, onward = w[:, : k + 1, k], w[:, k + 1, :k]
        weight = torch.where(k < length, into[:, 1:].sum(1) if k else into[:, 0], 1)
        log_z += (root * weight).log()
        share = into / weight[:, None]
        through = share[:, :, None] * onward[:, None, :]
        through.diagonal(-1, 1, 2).zero_()  # from an element to itself
        w = w[:, : k + 1, :k] + through
        if keep:
            share = share.log()
            share[:, : k > 0] = -torch.inf  # but for the last one, the root has no share yet
            steps.append((through.div_(w.clamp(min=tiny)), share))
    return log_z, steps


def eliminate_logs(w: Tensor, length: Tensor, keep: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The same for any scores, in log space: exact, and several times slower."""
    log_z, rooted, steps = w.new_zeros(len(w)), torch.zeros_like(length, dtype=torch.bool), []
    for k in range(w.shape[2] - 1, -1, -1):
        into, onward = w[:, : k + 1, k], w[:, k + 1, :k]
        others = torch.logsumexp(into[:, 1:], 1) if k else torch.full_like(log_z, -torch.inf)
        only = ~rooted & (others == -torch.inf) & (k < length)  # k must hang from the root
        rooted = rooted | only
        weight = torch.where(rooted, torch.logaddexp(others, into[:, 0]), others)
        log_z = log_z + torch.where(k < length, weight, 0)
        share = into - weight.masked_fill(weight == -torch.inf, 0)[:, None]
        through = share[:, :, None] + onward[:, None, :]
        through.diagonal(-1, 1, 2).fill_(-torch.inf)  # from an element to itself
        left = w[:, : k + 1, :k].clone()
        left[:, 0].masked_fill_(only[:, None], -torch.inf)  # a second root
        w = torch.logaddexp(left, through)
        if keep:
            share[:, 0].masked_fill_(~rooted, -torch.inf)
            steps.append((through.sub_(w.clamp(min=torch.finfo(w.dtype).min)).exp_(), share))
    nowhere = (log_z == -torch.inf)[:, None]
    return log_z, [(via, share.masked_fill(nowhere, -torch.inf)) for via, share in steps]


def arc_marginals(steps: list[tuple[Tensor, Tensor]], scores: Tensor) -> Tensor:
    """The arcs' probabilities (B, n, 1 + n): elements come back in the order opposite to their elimination."""
    B, n = scores.shape[:2]
    arcs = scores.new_zeros(B, n + 1, n, dtype=torch.double)  # (B, head, dependent)
    for k, (via, share) in zip(range(n), reversed(steps), strict=True):
        left = arcs[:, : k + 1, :k]
        through = left * via
        left.sub_(through)
        onward = through.sum(1)
        arcs[:, k + 1, :k] = onward
        arcs[:, : k + 1, k] = through.sum(2) + share.exp() * (1 - onward.sum(1, keepdim=True))
    return arcs.clamp_(min=0).mT.to(scores.dtype).contiguous()


# ---- the best tree


Weight = tuple[int, float]


def best_tree(scores: list[list[float]], size: int) -> list[int]:
    """Heads of the best tree with one root (Chu and Liu 1965, Edmonds 1967); scores[i][h], of which `size` elements count.

    Weights are compared by how few arcs are impossible, then by how few leave the root, and only then by their score."""
    into: dict[int, dict[int, Weight]] = {}
    for i, row in enumerate(scores[:size], 1):
        arcs = ((h, s, (h == 0) + (size + 1) * (s == float("-inf"))) for h, s in enumerate(row[: size + 1]) if h != i)
        into[i] = {h: (-faults, 0.0 if faults > 1 else s) for h, s, faults in arcs}
    head = arborescence(into)
    return [head[i] for i in range(1, size + 1)]


def arborescence(into: dict[int, dict[int, Weight]]) -> dict[int, int]:
    """The head of each node; into[node][head] weighs an arc, 0 is the root. Contracts circles, then opens them again."""
    opened: list[tuple[int, dict[int, int], dict[int, int], dict[int, int]]] = []
    head, new = {v: max(arcs, key=arcs.__getitem__) for v, arcs in into.items()}, len(into)
    while circle := find_circle(head):
        new += 1
        chosen, inner = {u: head.pop(u) for u in circle}, {u: into.pop(u) for u in circle}
        enter, leave, gains = dict[int, int](), dict[int, int](), dict[int, Weight]()
        for u, arcs in inner.items():
            faults, score = arcs[chosen[u]]
            for v in arcs.keys() - inner.keys():
                gain = (arcs[v][0] - faults, arcs[v][1] - score)
                if v not in gains or gain > gains[v]:
                    gains[v], enter[v] = gain, u
        for v, arcs in into.items():
            leave[v] = max(circle, key=arcs.__getitem__)
            arcs[new] = arcs[leave[v]]
            for u in circle:
                del arcs[u]
            head[v] = new if head[v] in chosen else head[v]
        into[new], head[new] = gains, max(gains, key=gains.__getitem__)
        opened.append((new, chosen, enter, leave))
    for new, chosen, enter, leave in reversed(opened):
        above = head.pop(new)
        head = {v: leave[v] if h == new else h for v, h in head.items()} | chosen | {enter[above]: above}
    return head


def find_circle(head: dict[int, int]) -> list[int]:
    """The nodes of one circle of heads; empty if every path ends at 0."""
    done = {0}
    for start in head:
        path: list[int] = []
        while start not in done:
            done.add(start)
            path.append(start)
            start = head[start]
        if start in path:
            return path[path.index(start) :]
    return []
