"""Lda: emitted by vispec from lda.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    sum_topic = log Σ_{topic} exp(log_topic + log_w)
    sum_topic_over_n = Σ_{n} sum_topic
    log p = kl_theta + sum_topic_over_n

    phi    map(); a point estimate
    theta  elbo(samples=1); continuous; guide Dirichlet
    topic  summed; discrete; independent in each element of its plates
    w      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


def dirichlet_log_prob(value: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log Dirichlet(value; concentration) (*B) for value (*B, K) and concentration (*B, K) or ()."""
    concentration = concentration.expand(*concentration.shape[:-1], value.shape[-1]).double()
    log_norm = torch.lgamma(concentration).sum(-1) - torch.lgamma(concentration.sum(-1))
    return (torch.xlogy(concentration - 1, value.double()).sum(-1) - log_norm).to(value.dtype)


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


def count_values(index: Tensor, size: int, mask: Tensor | None, like: Tensor) -> Tensor:
    """How often each of `size` values is among the index (*B, T) that count: (*B, size), of like's dtype."""
    weight = like.new_ones(index.shape) if mask is None else mask.to(like.dtype)
    if index.shape != weight.shape:
        index, weight = torch.broadcast_tensors(index, weight)
    return weight.new_zeros(*index.shape[:-1], size).scatter_add_(-1, index, weight)


def few_values(index: Tensor, size: int) -> bool:
    """Whether a product of matrices with the counts of index (*B, T) is worth their zeros."""
    return size < 32 * index.shape[-1]


def shared_counts(index: Tensor, size: int, mask: Tensor | None, like: Tensor) -> Tensor | None:
    """`count_values` for all that reads them, None where each does better without."""
    return count_values(index, size, mask, like) if few_values(index, size) else None


class LogOfProbability(torch.autograd.Function):
    """log p, -inf at 0, where its gradient is 0: what is impossible has no weight in any posterior, and 0 · ∞ would be nan."""

    @staticmethod
    def forward(ctx, p):
        ctx.save_for_backward(p)
        return p.log()

    @staticmethod
    def backward(ctx, grad):
        (p,) = ctx.saved_tensors
        return grad / p.masked_fill(p == 0, torch.inf)


def log_of(p: Tensor) -> Tensor:
    """log p elementwise for p ≥ 0."""
    return LogOfProbability.apply(p)


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


def by_group(start, value: Tensor, at: tuple, now: tuple, *told: Tensor | int, among: Tensor | None = None) -> list[Tensor]:
    """The parameters of a law, each (*G, *event), that `start` finds in the elements (N, *event) of each group.

    at: for each dimension of G where in it an element belongs, (N,) or one for all. now: what the parameters are, None for
    those not asked for; there stays what the elements do not tell. told: what else start reads, (N, ...) or one for all.
    among (N,): which elements the groups have, all without it.

    A group's parameters are drawn towards those of all elements as by one element of these, so that a group of few has no
    extreme ones; a group of none has those of all."""
    if not len(value):
        return [old for old in now if old is not None]
    whole = start(value, *told)
    sizes = next(each.shape[: len(at)] for each in now if each is not None)
    found = [each.expand(sizes.numel(), *each.shape).clone() for each in whole]
    key = torch.zeros(len(value), dtype=torch.long, device=value.device)
    for size, index in zip(sizes, at, strict=True):
        key = key * size + index
    if among is not None:
        key = torch.where(among, key, -1)
    order = key.argsort()
    groups, counts = key[order].unique_consecutive(return_counts=True)
    for group, rows in zip(groups.tolist(), order.split(counts.tolist()), strict=True):
        if group < 0 or len(rows) == len(value):
            continue
        own = start(value[rows], *(each[rows] if isinstance(each, Tensor) and each.dim() else each for each in told))
        for table, mine, all_ in zip(found, own, whole, strict=True):
            both = (len(rows) * mine + all_) / (len(rows) + 1)
            table[group] = torch.where(both.isfinite(), both, torch.where(mine.isfinite(), mine, all_))
    return [kept(each.reshape(sizes + each.shape[1:]), old) for each, old in zip(found, now, strict=True) if old is not None]


def kept(found: Tensor, old: Tensor) -> Tensor:
    """What was found in the shape of the old, the mean where one number stands for several; the old where it is not finite."""
    while found.dim() > old.dim():
        found = found.nanmean(-1)
    return torch.where(found.isfinite(), found, old)


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


def weights(score: Tensor) -> Tensor:
    """exp in place, but 0 instead of numbers below the normal ones, with which CPUs are a hundred times slower."""
    least = -707.8 if score.dtype == torch.float64 else -86.8  # just above the logarithm of the smallest normal number
    return torch.threshold_(score.clamp_(min=least).exp_(), 2 * torch.finfo(score.dtype).tiny, 0)


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


class Encode(nn.Module):
    """(words: token[V]*) → positive[K]: bow |> layernorm |> mlp([200])."""

    def __init__(self, K: int, V: int):
        super().__init__()
        self.V = V
        self.layernorm = nn.LayerNorm(V)
        self.mlp = nn.Sequential(nn.Linear(V, 200), nn.ReLU())
        self.out = nn.Linear(200, K)

    def features(self, words: Tensor, words_mask: Tensor | None = None, words_counts: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 200)."""
        h = count_values(words, self.V, words_mask, self.out.weight) if words_counts is None else words_counts  # (*B, V)
        return self.mlp(self.layernorm(h))

    def forward(self, words: Tensor, words_mask: Tensor | None = None, words_counts: Tensor | None = None) -> Tensor:
        """(*B, K) before softplus."""
        return self.out(self.features(words, words_mask=words_mask, words_counts=words_counts))


class Lda(nn.Module):
    """Batch: w (doc, n) token[V]; w_len (doc)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, K: int = 50):
        super().__init__()
        self.K = K
        self.V = V
        self.raw_phi_point = nn.Parameter(torch.randn(K, V) * 0.1)  # (k, V)
        self.encode = Encode(K, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def phi_point(self) -> Tensor:
        """simplex[V], one for each element of k."""
        return self.raw_phi_point.softmax(-1)

    @phi_point.setter
    def phi_point(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_phi_point.copy_(value.log())

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (doc,), in nats: elbo(samples=1)."""
        phi, _ = self.shared() if shared is None else shared
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        w_counts = shared_counts(w, self.V, inside_n, self.one)  # (doc, V)
        encode_raw = self.encode(w, words_mask=inside_n, words_counts=w_counts)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        theta = torch.distributions.Dirichlet(concentration=encode).rsample()  # (doc, K)
        concentrations = (self.one * 0.5).expand(self.K)  # (K,)
        kl_theta = torch.distributions.kl_divergence(torch.distributions.Dirichlet(concentration=encode.double()), torch.distributions.Dirichlet(concentration=concentrations.double())).to(self.one.dtype)  # (doc,)
        log_theta = log_of(theta)  # (doc, K)
        log_phi = log_of(phi)  # (topic, V)
        log_topic_over_n = mixed_total(log_theta, log_phi, w, inside_n, softmax=(False, False), counts=w_counts)  # (doc,)
        return log_topic_over_n - kl_theta  # (doc,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """phi (k, V); log p − log q of all that rows share."""
        phi_point_prob = self.raw_phi_point.softmax(-1)  # (k, V)
        log_p_phi = dirichlet_log_prob(phi_point_prob, (self.one * 1.01))  # (k,)
        part = log_p_phi.sum()
        return phi_point_prob, part

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, doc); what all rows share is drawn with each sample and adds nothing."""
        phi_point_prob = self.raw_phi_point.softmax(-1)  # (k, V)
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        w_counts = shared_counts(w, self.V, inside_n, self.one)  # (doc, V)
        encode_raw = self.encode(w, words_mask=inside_n, words_counts=w_counts)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        theta = torch.distributions.Dirichlet(concentration=encode).expand((samples, w.shape[0],)).rsample()  # (s*, doc, K)
        log_p_theta = dirichlet_log_prob(theta, (self.one * 0.5))  # (s*, doc)
        log_q_theta = dirichlet_log_prob(theta, encode)  # (s*, doc)
        log_ratio_theta = log_p_theta - log_q_theta  # (s*, doc)
        log_theta = log_of(theta)  # (s*, doc, K)
        log_phi_point_prob = log_of(phi_point_prob)  # (topic, V)
        log_w = columns(log_phi_point_prob, w)  # (doc, n, topic)
        log_joint_of_topic = log_theta[:, :, None] + log_w  # (s*, doc, n, topic)
        log_sum_topic = log_sum_exp(log_joint_of_topic)  # (s*, doc, n)
        log_topic_over_n = torch.where(inside_n, log_sum_topic, 0.0).sum(2)  # (s*, doc)
        log_prob = log_ratio_theta + log_topic_over_n  # (s*, doc)
        return log_prob

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        phi, _ = self.shared()
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        w_counts = shared_counts(w, self.V, inside_n, self.one)  # (doc, V)
        encode_raw = self.encode(w, words_mask=inside_n, words_counts=w_counts)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        theta = torch.distributions.Dirichlet(concentration=encode).rsample()  # (doc, K)
        concentrations = (self.one * 0.5).expand(self.K)  # (K,)
        kl_theta = torch.distributions.kl_divergence(torch.distributions.Dirichlet(concentration=encode.double()), torch.distributions.Dirichlet(concentration=concentrations.double())).to(self.one.dtype)  # (doc,)
        log_theta = log_of(theta)  # (doc, K)
        log_phi = log_of(phi)  # (topic, V)
        log_w = columns(log_phi, w)  # (doc, n, topic)
        tilt_topic = tilt["topic"]  # (doc, n, topic)
        log_joint_of_topic = log_theta[:, None] + log_w + tilt_topic  # (doc, n, topic)
        log_sum_topic = total(log_joint_of_topic)  # (doc, n)
        log_topic_over_n = torch.where(inside_n, log_sum_topic, 0.0).sum(1)  # (doc,)
        log_prob = log_topic_over_n - kl_theta  # (doc,)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        topic: index[k], (doc, n).
        theta: simplex[K], (doc).
        """
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        zeros = {"topic": self.one.new_zeros(w.shape[0], w.shape[1], self.K)}
        found = ask(self, batch, query, zeros, {"topic": inside_n})
        w_counts = shared_counts(w, self.V, inside_n, self.one)  # (doc, V)
        encode_raw = self.encode(w, words_mask=inside_n, words_counts=w_counts)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        return {**found, "theta": {"concentration": encode}}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of theta: log p − log q (samples, doc) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        w_counts = shared_counts(w, self.V, inside_n, self.one)  # (doc, V)
        encode_raw = self.encode(w, words_mask=inside_n, words_counts=w_counts)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        theta = torch.distributions.Dirichlet(concentration=encode).expand((samples, w.shape[0],)).rsample()  # (s*, doc, K)
        log_p_theta = dirichlet_log_prob(theta, (self.one * 0.5))  # (s*, doc)
        log_q_theta = dirichlet_log_prob(theta, encode)  # (s*, doc)
        log_ratio_theta = log_p_theta - log_q_theta  # (s*, doc)
        return {"theta": (log_ratio_theta, theta)}

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Latents that the batch does not show are guessed."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        topic = torch.randint(self.K, (w.shape[0], w.shape[1]), device=self.one.device)  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        doc, n_ = inside_n.nonzero(as_tuple=True)
        (self.phi_point,) = by_group(categorical_start, w[doc, n_], (topic[doc, n_],), (self.phi_point,), self.V)
        self.raw_phi_point += torch.randn_like(self.raw_phi_point)

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        phi, _ = self.shared()
        concentrations = (self.one * 0.5).expand(self.K)  # (K,)
        theta = decide(torch.distributions.Dirichlet(concentration=concentrations).expand((n,)), "sample", True)  # (doc, K)
        w_len = lengths["n"]  # (doc,)
        n_size = max(int(w_len.max()), 1)
        topic = decide(torch.distributions.Categorical(probs=theta[:, None]).expand((n, n_size,)), "sample", True)  # (doc, n)
        phi_at = phi[topic]  # (doc, n, V)
        w = decide(torch.distributions.Categorical(probs=phi_at).expand((n, n_size,)), rule, False)  # (doc, n)
        return {"phi": phi, "theta": theta, "topic": topic, "w": w, "w_len": w_len}

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
        rows, kinds = len(next(iter(batch.values()))), {"w": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"n": batch["w_len"]}, by), kinds, rule, samples)
