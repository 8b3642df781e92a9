"""InducedDependencies: emitted by vispec from induced_dependencies.vispec; imports torch and nothing else.

    log_prob: exact

    trees_head = log Σ_{trees head} exp(Σ_i arcs_head + log_x), elements eliminated one by one
    log p = norm_head + trees_head

    head  trees, summed; discrete; a head for each element of i: one elimination per element
    x     data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def first_derivative(backward):
    """A backward pass that takes for constants what depends on the inputs too, such as posterior probabilities: right once.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("there is a first derivative only here; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once


def decide(law: torch.distributions.Distribution, rule: str, read: bool) -> Tensor:
    """One value (*B, *event) of a law: rule "sample", "mode" (its most probable value) or "mean".

    The mean of a categorical law is its probabilities (*B, K); where the value is read again (`read`), its mode stands in.
    """
    if rule == "sample":
        return law.sample()
    finite = isinstance(law, torch.distributions.Categorical)
    if rule == "mean" and not (finite and read):
        return law.probs if finite else law.mean
    if isinstance(law, torch.distributions.Bernoulli):
        return (law.probs > 0.5).to(law.probs.dtype)  # torch's own mode is nan at 1/2
    return law.mode


def predictive(generate, kinds: dict[str, str], rule: str, samples: int) -> dict[str, Tensor]:
    """What generate(rule) gives of each variable of `kinds`, over that many draws of the latents.

    "mean": the mean over the draws, which of a finite variable is the probabilities of its values. "mode": the most probable
    value under these, and of numbers the mean. "sample", or kind "draw": what the first draw gives.
    kinds: "probabilities" (*B, K); "bit"; "count"; "number"; "draw", which cannot be averaged."""
    found = generate(rule) if rule == "sample" or "draw" in kinds.values() else {}
    averaged = [name for name, kind in kinds.items() if rule != "sample" and kind != "draw"]
    if averaged:
        mean = {name: value / samples for name, value in generate("mean").items() if name in averaged}
        for _ in range(samples - 1):
            again = generate("mean")
            mean = {name: value.add_(again[name], alpha=1 / samples) for name, value in mean.items()}
        decisions = {"probabilities": lambda p: p.argmax(-1), "bit": lambda p: (p > 0.5).to(p.dtype), "count": torch.round}
        for name, value in mean.items():
            found[name] = decisions[kinds[name]](value) if rule == "mode" and kinds[name] in decisions else value
    return {name: found[name] for name in kinds}


def distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct values (U,) and the row of each element among them, of tokens' shape.

    Their number is in the data, which a single traced graph cannot know: while compiling, every element is a row of its own.
    """
    if torch.compiler.is_compiling():
        return tokens.flatten(), torch.arange(tokens.numel(), device=tokens.device).view(tokens.shape)
    values, row = torch.unique(tokens, return_inverse=True)
    return values, row


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


QUERIES = "marginals, mode, kbest(5), sample, entropy, pairs, kl"


def ask(
    module,
    batch: dict[str, Tensor],
    query: str,
    tilt: dict[str, Tensor],
    inside: dict[str, Tensor],
    one_draw: bool = True,
    other=None,
) -> dict[str, Tensor]:
    """The answer for each latent. marginals: (B, *plates, K); mode, sample: (B, *plates); entropy: that of each marginal
    (B, *plates) and, as "(joint)", that of all latents together (B,); kl: likewise the divergence from `other`'s posterior;
    kbest(k): (B, k, *plates) from the best on, and their log-joints (B, k) as "(log_joint)". inside: which elements of a
    latent's ragged plates count, where it has any. Over several draws of other latents there is no one entropy of all."""
    if query.startswith("kbest("):
        return k_best(module.tilted, batch, tilt, inside, int(query[6:-1]))
    if query == "kl":
        return divergence(module, other, batch, tilt)
    joint = next(iter(tilt.values())).new_zeros(len(next(iter(tilt.values()))))
    entropic = Entropic(joint) if one_draw else log_sum_exp
    algebras = {"marginals": log_sum_exp, "mode": maximum, "sample": sampled, "entropy": entropic}
    if query not in algebras:
        raise ValueError(f"this model answers no query {query!r}; queries are {QUERIES}, pairs where a latent is a chain")
    found, of_all = answer(module.tilted, batch, algebras[query], tilt, joint)[1:]
    if query == "marginals":
        return found
    if query == "entropy":
        each = {name: torch.special.entr(p.clamp(min=0)).sum(-1) for name, p in found.items()}
        return each | {"(joint)": of_all} if one_draw else each
    return {name: p.argmax(-1) for name, p in found.items()}


def divergence(module, other, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> dict[str, Tensor]:
    """KL(p(z | x) || q(z | x)) in nats, p of `module` and q of `other`: that of each marginal (B, *plates), and of all latents
    together (B,) as "(joint)". Raises ValueError where they do not sum out the same latents in the same order."""
    order, theirs = (getattr(each, "sums", None) for each in (module, other))
    if order is None or order != theirs:
        raise ValueError(f"posteriors are compared where both models are exact and sum in the same order: {order} and {theirs}")
    joint = next(iter(tilt.values())).new_zeros(len(next(iter(tilt.values()))))
    q = Entropic(joint)
    by_q = answer(other.tilted, batch, q, tilt)[1]
    by_p, of_all = answer(module.tilted, batch, Entropic(joint, q.shares), tilt, joint)[1:]
    log_q = logs_of(other.tilted, batch, tilt, by_q, by_p)
    return {name: mean_where(p, p.log() - log_q[name]) for name, p in by_p.items()} | {"(joint)": of_all}


@torch.no_grad()
def logs_of(tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], q: dict[str, Tensor], p: dict[str, Tensor]) -> dict:
    """log q of marginals q (B, *plates, K) wherever p is positive. One that is too small a number to have all its digits is the
    sum with that value alone, less the sum of all: of each row one at a time."""
    log_z, found = tilted(batch, log_sum_exp, tilt), {name: each.log() for name, each in q.items()}
    for name, log_q in found.items():
        faint = (q[name] < torch.finfo(log_q.dtype).tiny) & (p[name] > 0)
        while faint.any():
            one = faint & (faint.flatten(1).cumsum(1).view_as(faint) == 1)
            bars = tilt[name].masked_fill(one.any(-1, keepdim=True) & ~one, -torch.inf)
            value = tilted(batch, log_sum_exp, tilt | {name: bars}) - log_z
            log_q[one] = value[one.flatten(1).any(1)]
            faint &= ~one
    return found


def mean_where(p: Tensor, value: Tensor, dims: int = 1) -> Tensor:
    """Σ p · value over the last dimensions, where p is 0 whatever the value."""
    return torch.where(p > 0, p * value, 0.0).flatten(-dims).sum(-1)


def answer(tilted, batch: dict[str, Tensor], total, tilt: dict[str, Tensor], *more: Tensor) -> tuple:
    """log p (B,) under the algebra, its gradient for each latent's tilt, and for `more`."""
    inputs = [value.requires_grad_() for value in (*tilt.values(), *more)]
    with torch.enable_grad():
        log_prob = tilted(batch, total, tilt)
        found = torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True, materialize_grads=True)
    return (log_prob.detach(), dict(zip(tilt, found, strict=False)), *found[len(tilt) :])


class Entropic:
    """log Σ exp, through which a gradient for `joint` (B,) gathers a mean over all that is summed, by the chain rule: of
    −log p, the entropy, or of log p − log q, the divergence from a model whose log-probabilities are `other`, sum by sum."""

    def __init__(self, joint: Tensor, other: list[Tensor] | None = None):
        self.joint, self.other, self.shares = joint, other, list[Tensor]()

    def __call__(self, x: Tensor) -> Tensor:
        log_z = log_sum_exp(x.detach())
        share = x.detach() - log_z.masked_fill(log_z == -torch.inf, 0.0).unsqueeze(-1)
        return self.attach(Summed.apply(x, log_z, share.exp()), share.exp(), share)

    def attach(self, log_z: Tensor, p: Tensor, share: Tensor, dims: int = 1) -> Tensor:
        """log_z (B, ...) of a sum whose terms have log-probability Σ share over those of the last dimensions that they
        choose, each chosen with probability p."""
        told = -share if self.other is None else share - self.other[len(self.shares)]
        self.shares.append(share)
        return Attached.apply(log_z, mean_where(p, told, dims), self.joint)


class Summed(torch.autograd.Function):
    """log Σ exp(x), which is known, with all weights p as the gradient: a small one counts where its logarithm is told."""

    @staticmethod
    def forward(ctx, x, log_z, p):
        ctx.save_for_backward(p)
        return log_z.clone()

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        (p,) = ctx.saved_tensors
        return p * grad.unsqueeze(-1), None, None


class Attached(torch.autograd.Function):
    """The first argument; its gradient times the second, summed for each row, is the gradient of the third."""

    @staticmethod
    def forward(ctx, log_z, told, joint):
        ctx.save_for_backward(told)
        return log_z.clone()

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        (told,) = ctx.saved_tensors
        by_row = torch.where(grad > 0, grad * told, 0.0)  # an infinite divergence counts only where it can be
        return grad, None, by_row.flatten(1).sum(1) if grad.dim() > 1 else by_row


def k_best(tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], inside: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """The k most probable joint assignments of each row; where there are fewer, the rest have log-joint -inf (Lawler 1972).

    What is left beside a solution falls apart by the first element that differs from it. Each part is a tilt of 0 and -inf, and
    has a mode of its own; of all parts so far, as many as can still be wanted are kept, best first."""
    shapes = {name: value.shape[1:] for name, value in tilt.items()}
    B, seed = len(next(iter(tilt.values()))), int(torch.randint(2**62, ()))  # other latents are drawn once for all

    def best(bars: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # log-joint (B,), values (B, elements), and the bars themselves
        parts = bars.split([shape.numel() for shape in shapes.values()], 1)
        split = {name: part.reshape(B, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        score, found = seeded(lambda tilt: answer(tilted, batch, maximum, tilt)[:2], seed, split)
        return score, torch.cat([value.argmax(-1).view(B, -1) for value in found.values()], 1), bars

    counts = [inside.get(name, value[..., 0] == 0).expand(value.shape[:-1]).reshape(B, -1) for name, value in tilt.items()]
    counts = torch.cat(counts, 1)  # (B, elements)
    pool = [part.unsqueeze(1) for part in best(torch.cat([value.flatten(1) for value in tilt.values()], 1))]
    # pool: (B, candidates), (B, candidates, elements), (B, candidates, all values)
    solutions = []
    for left in range(k - 1, -1, -1):
        score, chosen, bars = (part[:, 0] for part in pool)
        solutions.append((score, chosen))
        pool = [part[:, 1:] for part in pool]
        start = 0
        for element, size in enumerate(shape[-1] for shape in shapes.values() for _ in range(shape[:-1].numel()) if left):
            here = start + chosen[:, element, None]
            other = best(bars.scatter(1, here, -torch.inf))
            possible = counts[:, element] & (score > -torch.inf)
            pool = ranked(pool, (other[0].masked_fill(~possible, -torch.inf), *other[1:]), left)
            own, bars = bars.gather(1, here), bars.clone()
            bars[:, start : start + size] = -torch.inf
            bars.scatter_(1, here, own)
            start += size
        if left and pool[0].shape[1] == 0:
            pool = [part.unsqueeze(1) for part in (torch.full_like(score, -torch.inf), chosen, bars)]
    values = torch.stack([chosen for _, chosen in solutions], 1)  # (B, k, elements)
    values = values.split([shape[:-1].numel() for shape in shapes.values()], 2)
    found = {name: part.reshape(B, k, *shape[:-1]) for (name, shape), part in zip(shapes.items(), values, strict=True)}
    return found | {"(log_joint)": torch.stack([score for score, _ in solutions], 1)}


def ranked(pool: list[Tensor], more: tuple[Tensor, ...], most: int) -> list[Tensor]:
    """Candidates with one more for each row, best first, at most so many."""
    joined = [torch.cat([part, new.unsqueeze(1)], 1) for part, new in zip(pool, more, strict=True)]
    order = joined[0].topk(min(most, joined[0].shape[1]), 1).indices
    rows = torch.arange(len(order), device=order.device)[:, None]
    return [part[rows, order] for part in joined]


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


class Maximum(torch.autograd.Function):
    """max over the last dimension; the gradient goes to the first of the best."""

    @staticmethod
    def forward(ctx, x):
        best, at = x.max(-1, keepdim=True)
        ctx.save_for_backward(at)
        ctx.size = x.shape[-1]
        return best.squeeze(-1)

    @staticmethod
    def backward(ctx, grad):
        (at,) = ctx.saved_tensors
        return grad.new_zeros(*at.shape[:-1], ctx.size).scatter_(-1, at, grad.unsqueeze(-1))


class Sampled(torch.autograd.Function):
    """log Σ exp over the last dimension; the gradient goes to one term, drawn with its probability."""

    @staticmethod
    def forward(ctx, x):
        noise = torch.empty_like(x).exponential_().log_()
        ctx.save_for_backward((x - noise).argmax(-1, keepdim=True))
        ctx.size = x.shape[-1]
        return torch.logsumexp(x, -1)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        (at,) = ctx.saved_tensors
        return grad.new_zeros(*at.shape[:-1], ctx.size).scatter_(-1, at, grad.unsqueeze(-1))


def maximum(x: Tensor) -> Tensor:
    """max over the last dimension (*B, K) → (*B)."""
    return Maximum.apply(x)


def sampled(x: Tensor) -> Tensor:
    """log Σ exp(x) over the last dimension (*B, K) → (*B), with a draw for a gradient."""
    return Sampled.apply(x)


def seeded(log_joint, seed: int, *inputs):
    """log_joint(*inputs) with the same draws in every pass."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return log_joint(*inputs)


class LogSumExp(torch.autograd.Function):
    """log Σ exp(x) over the last dimension, and the responsibilities, which are its gradient; they have one of their own.

    Weights below 1e-34 of the largest count as zero: they cannot change the sum, and torch's exp is slow there.
    """

    @staticmethod
    def forward(ctx, x):
        top = x.amax(-1, keepdim=True)
        top.clamp_(min=torch.finfo(top.dtype).min)  # where all are -inf, so is their difference from it
        r = torch.threshold_((x - top).clamp_(min=-80.0).exp_(), 2e-35, 0.0)
        mass = r.sum(-1, keepdim=True)  # at least 1, or 0 where everything is impossible
        ctx.save_for_backward(r.div_(mass.clamp(min=1.0)))
        ctx.set_materialize_grads(False)
        return mass.log_().add_(top).squeeze(-1), r

    @staticmethod
    def backward(ctx, grad, by_r):
        (r,) = ctx.saved_tensors
        first = None if grad is None else r * grad.unsqueeze(-1)
        if by_r is None:
            return first
        second = r * (by_r - (r * by_r).sum(-1, keepdim=True))
        return second if first is None else first + second


def log_sum_exp(x: Tensor) -> Tensor:
    """log Σ exp(x) over the last dimension (*B, K) → (*B); -inf, with gradient 0, where every term is."""
    return LogSumExp.apply(x)[0]


def impossible_alone(log_prob: Tensor) -> Tensor:
    """The same; where it is -inf, it has no gradient for anything that it was added up from."""
    return log_prob.masked_fill(log_prob == -torch.inf, -torch.inf)


class SelectedLogSoftmax(torch.autograd.Function):
    """log_softmax(h Wᵀ + b)[row, col] for the chosen cells alone; the logits' buffer becomes the gradient.

    h (U, H), weight (V, H), bias (V,), row and col (*S) → (*S).
    """

    @staticmethod
    def forward(ctx, h, weight, bias, row, col):
        logits = torch.addmm(bias, h, weight.T)  # (U, V)
        picked, least = logits[row, col], least_logit(logits)
        prob = softmax_in_place(logits, least)
        ctx.save_for_backward(h, weight, bias, row, col)
        ctx.prob = prob  # only the first backward pass finds it
        return prob[row, col].log_().add_((picked - least[row]).clamp_(max=0.0))

    @staticmethod
    def backward(ctx, grad):
        h, weight, bias, row, col = ctx.saved_tensors
        g, ctx.prob = ctx.prob, None
        grad = grad.flatten()
        mass = grad.new_zeros(len(h)).index_add_(0, row.flatten(), grad)
        if torch.is_grad_enabled():  # the gradient is to be differentiated
            g = -mass[:, None] * torch.addmm(bias, h, weight.T).softmax(1)
        else:
            if g is None:
                logits = torch.addmm(bias, h, weight.T)
                g = softmax_in_place(logits, least_logit(logits))
            g.mul_(-mass[:, None])  # ∂/∂logits = picked − mass · softmax
        g.view(-1).index_add_(0, (row * g.shape[1] + col).flatten(), grad)
        by_bias = g.new_ones(len(g)) @ g  # three times as fast as g.sum(0)
        return g @ weight, g.T @ h, by_bias, None, None


def least_logit(logits: Tensor) -> Tensor:
    """What is as good as impossible in each row (U,): exp, and all that reads its result, would be slow below it."""
    return logits.amax(1) - 80.0


def softmax_in_place(logits: Tensor, least: Tensor) -> Tensor:
    """The softmax of each row of logits (U, V), none of which counts as less than `least`."""
    return torch.softmax(torch.maximum(logits, least[:, None], out=logits), 1, out=logits)


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


def tree_depth(heads: Tensor) -> Tensor:
    """How many arcs lead from the root to each element (*B, n): 1 for those that hang from it."""
    above, depth = F.pad(heads, (1, 0)), F.pad(torch.ones_like(heads), (1, 0))
    for _ in range(heads.shape[-1].bit_length()):
        depth, above = depth + depth.gather(-1, above), above.gather(-1, above)
    return depth[..., 1:]


def log_number_of_trees(length: Tensor) -> Tensor:
    """log n^(n-1), how many trees with one root n elements have; of the dtype of a floating-point `length`."""
    return torch.xlogy(length - 1, length.clamp(min=1))


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


@torch.library.custom_op("vispec::tree_sums", mutates_args=())
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


class Attach(nn.Module):
    """(head: token[V]) → simplex[V]: embed(64) |> mlp([64])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V + 1, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, V)

    def features(self, head: Tensor) -> Tensor:
        """head (*B) → (*B, 64)."""
        return self.mlp(self.embed(head))

    def forward(self, head: Tensor) -> Tensor:
        """(*B, V) unnormalised log-probabilities."""
        return self.out(self.features(head))


class InducedDependencies(nn.Module):
    """Batch: x (sentence, i) token[V]; x_len (sentence)."""

    exact = True
    estimator = "exact"
    sums = ("tree head in sentence",)

    def __init__(self, V: int):
        super().__init__()
        self.V = V
        self.attach = Attach(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        x_len = batch["x_len"]  # (sentence,)
        log_norm_head = -log_number_of_trees(self.one * x_len)  # (sentence,)
        x = batch["x"]  # (sentence, i)
        x_or_root = F.pad(x, (1, 0), value=self.V)  # (sentence, head)
        x_or_root_words, x_or_root_row = distinct(x_or_root)  # (sentence, head)
        cells = torch.broadcast_shapes(x_or_root_row[:, None].shape, x[:, :, None].shape)
        x_or_root_row_2 = x_or_root_row[:, None].expand(cells)  # (sentence, i, head)
        x_2 = x[:, :, None].expand(cells)  # (sentence, i, head)
        attach_features = self.attach.features(x_or_root_words)  # (distinct, H)
        log_x = SelectedLogSoftmax.apply(attach_features, self.attach.out.weight, self.attach.out.bias, x_or_root_row_2, x_2)  # (sentence, i, head)
        log_trees_head = tree_log_prob(log_x, x_len)  # (sentence,)
        log_prob = log_norm_head + log_trees_head  # (sentence,)
        return impossible_alone(log_prob)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        batch = with_room(batch)
        x_len = batch["x_len"]  # (sentence,)
        log_norm_head = -log_number_of_trees(self.one * x_len)  # (sentence,)
        x = batch["x"]  # (sentence, i)
        x_or_root = F.pad(x, (1, 0), value=self.V)  # (sentence, head)
        x_or_root_words, x_or_root_row = distinct(x_or_root)  # (sentence, head)
        cells = torch.broadcast_shapes(x_or_root_row[:, None].shape, x[:, :, None].shape)
        x_or_root_row_2 = x_or_root_row[:, None].expand(cells)  # (sentence, i, head)
        x_2 = x[:, :, None].expand(cells)  # (sentence, i, head)
        attach_features = self.attach.features(x_or_root_words)  # (distinct, H)
        log_x = SelectedLogSoftmax.apply(attach_features, self.attach.out.weight, self.attach.out.bias, x_or_root_row_2, x_2)  # (sentence, i, head)
        tilt_head = tilt["head"]  # (sentence, i, head)
        log_arcs_of_head = log_x + tilt_head  # (sentence, i, head)
        log_trees_head = tree_total(total, log_arcs_of_head, x_len)  # (sentence,)
        log_prob = log_norm_head + log_trees_head  # (sentence,)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        head: tree[i], (sentence, i).
        """
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (sentence, i)
        zeros = {"head": self.one.new_zeros(x.shape[0], x.shape[1], x.shape[1] + 1)}
        found = ask(self, batch, query, zeros, {"head": inside_i}, other=other)
        return found

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        x_len = lengths["i"]  # (sentence,)
        i_size = max(int(x_len.max()), 1)
        head = decide_tree(self.one.new_zeros(n, i_size, i_size + 1), x_len, "sample", True)  # (sentence, i)
        depth = tree_depth(head)  # (sentence, i)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (sentence, i)
        for level in range(1, int(depth.max()) + 1):
            x_or_root = F.pad(x, (1, 0), value=self.V)  # (sentence, i)
            at_sentence = torch.arange(n, device=self.one.device)  # (sentence,)
            x_or_root_at = x_or_root[at_sentence[:, None], head]  # (sentence, i)
            x_or_root_at_words, x_or_root_at_row = distinct(x_or_root_at)  # (sentence, i)
            attach = self.attach(x_or_root_at_words)  # (distinct, V)
            attach_2 = attach[x_or_root_at_row]  # (sentence, i, V)
            x_2 = decide(torch.distributions.Categorical(logits=attach_2).expand((n, i_size,)), rule, True)  # (sentence, i)
            x = torch.where((depth == level), x_2, x)
        return {"head": head, "x": x, "x_len": x_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"x": "draw"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)
