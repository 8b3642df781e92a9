"""SsMixture: emitted by vispec from ss_mixture.vispec; imports torch and nothing else.

    log_prob: exact

    sum_y = log Σ_{y} exp(log_y + seen_y + log_x)
    log p = sum_y

    y  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


def first_derivative(backward):
    """A backward pass that takes for constants what depends on the inputs too, such as posterior probabilities: right once.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("there is a first derivative only here; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once


def softplus_inverse(y: Tensor) -> Tensor:
    """x with softplus(x) = y > 0."""
    return y + torch.log(-torch.expm1(-y))


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


def clusters(
    count: int,
    numbers: list[Tensor],
    shares: list[Tensor] | None = None,
    inside: Tensor | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Which of `count` clusters each element is in, (*P) for elements with what numbers (*P, ...) and shares (*P, ...) say.

    Each of the numbers is standardised, while shares (bits, frequencies), which know no units, keep their relative spread; nan
    is what nobody knows. inside (*P): which elements count, all along one axis without it; the others are in cluster 0.
    known (*P): the clusters of those that have one, -1 for the others.

    k-means with the seeds of k-means++, each the best of a few (Arthur and Vassilvitskii 2007), on as few elements as tell: the
    clusters of all are often the same in each restart, and need not be where the likelihood is highest."""
    parts = [(part, True) for part in numbers] + [(part, False) for part in shares or []]
    if inside is None:
        inside = torch.ones(len(parts[0][0]), dtype=torch.bool, device=parts[0][0].device)
    labels = torch.zeros_like(inside, dtype=torch.long)
    rows = int(inside.sum())
    if not rows:
        return labels
    x = torch.cat([standardised(part[inside].reshape(rows, -1), apart) for part, apart in parts], -1)
    if x.shape[1] > 200:  # random directions keep distances (Johnson and Lindenstrauss 1984)
        x = x @ torch.randn(x.shape[1], 200, dtype=x.dtype, device=x.device)
    fixed = torch.full((rows,), -1, device=x.device) if known is None else known[inside]
    some = torch.randperm(rows, device=x.device)[: 20 * count]
    some = torch.cat([some, (fixed >= 0).nonzero()[:, 0]])
    centres = k_means(x[some], count, fixed[some])
    labels[inside] = torch.where(fixed >= 0, fixed, nearest(x, centres))
    return labels


def standardised(x: Tensor, apart: bool) -> Tensor:
    """x (N, F) minus its mean, over its deviation, each column by its own or all by that of all; 0 where it is not finite, and
    in a column that does not vary."""
    x = x.masked_fill(~x.isfinite(), torch.nan)
    varies = x.nan_to_num(nan=-torch.inf).amax(0) > x.nan_to_num(nan=torch.inf).amin(0)  # rounding may give others a deviation
    error = (x - x.nanmean(0)).where(varies, 0.0)
    variance = error.square().nanmean(0) if apart else error.square().nanmean()
    return (error / variance.sqrt()).nan_to_num(nan=0.0)


def k_means(x: Tensor, count: int, fixed: Tensor) -> Tensor:
    """Centres (count, F); elements with fixed (N,) ≥ 0 are in that cluster, whose seed is their mean."""
    seen = fixed[fixed >= 0].unique().tolist()
    centres = torch.stack([x[fixed == k].mean(0) for k in seen]) if seen else x[torch.randint(len(x), (1,), device=x.device)]
    while len(centres) < count:
        distance = torch.cdist(x, centres).square().amin(-1)
        chance = torch.where(distance.sum() > 0, distance, 1.0)  # there may be fewer different elements than clusters
        tried = x[torch.multinomial(chance, 2 + count.bit_length(), replacement=True)]
        left = torch.minimum(torch.cdist(x, tried).square(), distance[:, None]).sum(0)
        centres = torch.cat([centres, tried[left.argmin()][None]])
    if seen:
        rest = [k for k in range(count) if k not in seen]
        centres = centres[torch.tensor([*seen, *rest]).argsort().to(x.device)]
    for _ in range(10):
        label = torch.where(fixed >= 0, fixed, nearest(x, centres))
        size = torch.bincount(label, minlength=count)[:, None]
        centres = torch.where(size > 0, torch.zeros_like(centres).index_add_(0, label, x) / size, centres)
    return centres


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """Index (N,) of the centre next to each element; any of several that are as near."""
    distance = torch.cdist(x, centres)
    near = distance == distance.amin(-1, keepdim=True)
    return torch.where(near, torch.rand_like(distance), -1.0).argmax(-1)


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


def normal_natural(x: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σ_d log N(x_d; loc_kd, scale_kd²) as const_k + weight_k · t(x): const (*K), weight (*K, 2D), t (*B, 2D).

    Both are centred on the mean component first, so that squares stay small beside the distances that matter.
    """
    centre = loc.detach().flatten(0, -2).mean(0)
    x = x - centre
    return *NormalNatural.apply(loc, scale, centre), torch.cat([x, x * x], -1)  # square() is slower


class NormalNatural(torch.autograd.Function):
    """const (*K) and weight (*K, 2D) on [x, x²], for x from the centre (D,), of Normal(loc, scale²), summed over D.

    One operation instead of a dozen.
    """

    @staticmethod
    def forward(ctx, loc, scale, centre):
        given = loc, scale, centre
        loc, precision = loc - centre, (scale * scale).reciprocal_()
        scaled = loc * precision
        const = torch.addcmul(scale.log(), scaled, loc, value=0.5).sum(-1)
        ctx.save_for_backward(*given)
        return torch.rsub(const, -0.9189385332046727 * loc.shape[-1]), torch.cat([scaled, -0.5 * precision], -1)

    @staticmethod
    def backward(ctx, by_const, by_weight):
        loc, scale, centre = ctx.saved_tensors
        loc, precision = loc - centre, (scale * scale).reciprocal()
        by_scaled, by_square = by_weight.chunk(2, -1)
        by_const = by_const[..., None]
        shifted = torch.addcmul(by_scaled, by_const, loc, value=-1.0)
        by_precision = (by_scaled + shifted).mul_(loc).sub_(by_square)  # twice
        by_scale = torch.addcmul(by_const, by_precision, precision).div_(scale).neg_()
        return shifted.mul_(precision), by_scale, None


class SsMixture(nn.Module):
    """Batch: y (n) category[K]; y_observed (n) bool; x (n, D) real[D]."""

    exact = True
    estimator = "exact"
    sums = ("sum y in n",)

    def __init__(self, D: int, K: int = 3):
        super().__init__()
        self.K = K
        self.D = D
        self.raw_pi = nn.Parameter(torch.zeros(K))  # (K)
        self.mu = nn.Parameter(torch.randn(K, D))  # (k, D)
        self.raw_sigma = nn.Parameter(torch.randn(K, D) * 0.1)  # (k, D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def pi(self) -> Tensor:
        """simplex[K]."""
        return self.raw_pi.softmax(-1)

    @pi.setter
    def pi(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_pi.copy_(value.log())

    @property
    def sigma(self) -> Tensor:
        """positive[D], one for each element of k."""
        return F.softplus(self.raw_sigma)

    @sigma.setter
    def sigma(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_sigma.copy_(softplus_inverse(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        at_y = torch.arange(self.K, device=self.one.device)  # (y,)
        y = batch["y"]  # (n,)
        y_observed = batch["y_observed"]  # (n,)
        seen_y = torch.where((y[:, None] == at_y) | ~y_observed[:, None], 0 * self.one, -torch.inf)  # (n, y)
        x = batch["x"]  # (n, D)
        sigma = F.softplus(self.raw_sigma)  # (y, D)
        log_x_const, log_x_weight, log_x_statistics = normal_natural(x, self.mu, sigma)  # (y,), (y, T), (n, T)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        log_table = F.linear(log_x_statistics, log_x_weight, log_x_const)  # (n, y)
        log_joint_of_y = log_pi + seen_y + log_table  # (n, y)
        return log_sum_exp(log_joint_of_y)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        at_y = torch.arange(self.K, device=self.one.device)  # (y,)
        y = batch["y"]  # (n,)
        y_observed = batch["y_observed"]  # (n,)
        seen_y = torch.where((y[:, None] == at_y) | ~y_observed[:, None], 0 * self.one, -torch.inf)  # (n, y)
        x = batch["x"]  # (n, D)
        sigma = F.softplus(self.raw_sigma)  # (y, D)
        log_x_const, log_x_weight, log_x_statistics = normal_natural(x, self.mu, sigma)  # (y,), (y, T), (n, T)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        log_table = F.linear(log_x_statistics, log_x_weight, log_x_const)  # (n, y)
        tilt_y = tilt["y"]  # (n, y)
        log_joint_of_y = log_pi + seen_y + log_table + tilt_y  # (n, y)
        log_sum_y = total(log_joint_of_y)  # (n,)
        return log_sum_y

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        y: category[K], (n).
        """
        y = batch["y"]  # (n,)
        zeros = {"y": self.one.new_zeros(y.shape[0], self.K)}
        found = ask(self, batch, query, zeros, {}, other=other)
        return found

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Clusters stand in for latents."""
        x = batch["x"]  # (n, D)
        y_observed = batch["y_observed"]  # (n,)
        y = batch["y"]  # (n,)
        y_2 = clusters(self.K, [x], known=torch.where(y_observed, y, -1))  # (n,)
        (self.pi,) = by_group(categorical_start, y_2, (), (self.pi,), self.K)
        self.mu[...], self.sigma = by_group(normal_start, x, (y_2,), (self.mu, self.sigma))

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        y = decide(torch.distributions.Categorical(logits=self.raw_pi).expand((n,)), rule, True)  # (n,)
        mu_at = self.mu[y]  # (n, D)
        sigma_at = self.raw_sigma[y]  # (n, D)
        sigma_at_2 = F.softplus(sigma_at)  # (n, D)
        x = decide(torch.distributions.Normal(loc=mu_at, scale=sigma_at_2).expand((n, self.D,)), rule, False)  # (n, D)
        return {"y": y, "x": x, "y_observed": torch.ones_like(y, dtype=torch.bool)}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the best joint assignment; "sample", a draw. Cells that are seen are as they are seen. samples: for
        models without such variables.
        """
        found = self.posterior(batch, "marginals" if rule == "mean" else rule)
        return {name: found[name] for name in ("y",)}
