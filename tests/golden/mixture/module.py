"""Mixture: emitted by vispec from mixture.vispec; imports torch and nothing else.

    log_prob: exact

    sum_c = log Σ_{c} exp(log_c + log_x)
    log p = sum_c

    c  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class MixtureLogProb(torch.autograd.Function):
    """log Σ_k exp(const_k + weight_k · t) for sufficient statistics t.

    const (K,), weight (K, T), statistics (N, T) → (N,). The gradient is the posterior of k given each row (the
    responsibilities), kept in the buffer of the log-densities up to each row's mass; both (N, K) and (N, 1) are returned too.
    """

    @staticmethod
    def forward(ctx, const, weight, statistics):
        r = torch.addmm(const, statistics, weight.T)  # (N, K)
        top = r.amax(1, keepdim=True)
        top.clamp_(min=torch.finfo(top.dtype).min)  # where all are -inf, so is their difference from it
        torch.threshold_(r.sub_(top).clamp_(min=-80.0).exp_(), 2e-35, 0.0)
        mass = r.sum(1, keepdim=True)  # at least 1, or 0 where everything is impossible
        ctx.save_for_backward(r, mass, weight, statistics)
        ctx.set_materialize_grads(False)
        return mass.log().add_(top).squeeze(1), r, mass

    @staticmethod
    def backward(ctx, grad, by_r, by_mass):
        r, mass, weight, statistics = ctx.saved_tensors
        grad = torch.zeros_like(mass) if grad is None else grad[:, None] / mass.clamp(min=1.0)
        if by_r is not None or by_mass is not None:
            by_density = r * sum(each for each in (grad, by_r, by_mass) if each is not None)
            return by_density.sum(0), by_density.T @ statistics, by_density @ weight
        by_statistics = (r @ weight).mul_(grad) if ctx.needs_input_grad[2] else None
        return (r.T @ grad).squeeze(1), r.T @ (statistics * grad), by_statistics


def mixture_log_prob(const: Tensor, weight: Tensor, statistics: Tensor) -> Tensor:
    """log Σ_k exp(const_k + weight_k · t): const (K,), weight (K, T), statistics t (*B, T) → (*B)."""
    flat = statistics if statistics.dim() == 2 else statistics.flatten(0, -2)
    return MixtureLogProb.apply(const, weight, flat)[0].view(statistics.shape[:-1])


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


class Component(nn.Module):
    """(c: category[K]) → (loc: real[D], scale: positive[D]): embed(16) |> mlp([64])."""

    def __init__(self, K: int, D: int):
        super().__init__()
        self.embed = nn.Embedding(K, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 64), nn.ReLU())
        self.out = nn.Linear(64, 2 * D)

    def features(self, c: Tensor) -> Tensor:
        """c (*B) → (*B, 64)."""
        return self.mlp(self.embed(c))

    def forward(self, c: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, D), scale (*B, D) before softplus."""
        loc, scale = self.out(self.features(c)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Mixture(nn.Module):
    """Batch: x (n, D) real[D]."""

    exact = True
    estimator = "exact"
    sums = ("sum c in n",)

    def __init__(self, D: int, K: int = 8):
        super().__init__()
        self.K = K
        self.D = D
        self.raw_pi = nn.Parameter(torch.zeros(K))  # (K)
        self.component = Component(K, D)
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

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        x = batch["x"]  # (n, D)
        component_loc, component_scale_raw = self.component(at_c)  # (c, D)
        component_scale = F.softplus(component_scale_raw)  # (c, D)
        log_x_const, log_x_weight, log_x_statistics = normal_natural(x, component_loc, component_scale)  # (c,), (c, T), (n, T)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        const = log_x_const + log_pi  # (c,)
        return mixture_log_prob(const, log_x_weight, log_x_statistics)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        x = batch["x"]  # (n, D)
        component_loc, component_scale_raw = self.component(at_c)  # (c, D)
        component_scale = F.softplus(component_scale_raw)  # (c, D)
        log_x_const, log_x_weight, log_x_statistics = normal_natural(x, component_loc, component_scale)  # (c,), (c, T), (n, T)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        log_table = F.linear(log_x_statistics, log_x_weight, log_x_const)  # (n, c)
        tilt_c = tilt["c"]  # (n, c)
        log_joint_of_c = log_pi + log_table + tilt_c  # (n, c)
        log_sum_c = total(log_joint_of_c)  # (n,)
        return log_sum_c

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        c: category[K], (n).
        """
        x = batch["x"]  # (n, D)
        zeros = {"c": self.one.new_zeros(x.shape[0], self.K)}
        found = ask(self, batch, query, zeros, {}, other=other)
        return found

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        x = batch["x"]  # (n, D)
        component_bias = self.component.out.bias
        component_bias[0:self.D], scale = by_group(normal_start, x, (), (component_bias[0:self.D], F.softplus(component_bias[self.D:2 * self.D])))
        component_bias[self.D:2 * self.D] = softplus_inverse(scale)

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        c = decide(torch.distributions.Categorical(logits=self.raw_pi).expand((n,)), "sample", True)  # (n,)
        component_loc, component_scale_raw = self.component(c)  # (n, D)
        component_scale = F.softplus(component_scale_raw)  # (n, D)
        x = decide(torch.distributions.Normal(loc=component_loc, scale=component_scale).expand((n, self.D,)), rule, False)  # (n, D)
        return {"c": c, "x": x}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
