"""OrdinalRegression: emitted by vispec from ordinal_regression.vispec; imports torch and nothing else.

    log_prob: exact

    log_rating_over_rater = Σ_{rater} log_rating
    log p = log_rating_over_rater

    x       data; given by the data
    rating  scored where seen; nothing depends on it: scored where it is seen
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def categorical_log_prob(value: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """log_probs[..., value] for value (*B) and log_probs (*B, K), leading axes broadcast → (*B)."""
    if log_probs.dim() == 1:  # one law for all values: selecting scatters its gradient into (K,), gathering into (*B, K)
        return log_probs.index_select(0, value.flatten()).view(value.shape)
    lead = torch.broadcast_shapes(value.shape, log_probs.shape[:-1])
    own = (1,) * (len(lead) + 1 - log_probs.dim()) + log_probs.shape[:-1]
    order = sorted(range(len(lead)), key=lambda d: own[d] != lead[d])  # last where one law serves many values
    rows = log_probs.reshape(-1, log_probs.shape[-1])  # not expanded: its gradient would be as large
    index = value.expand(lead).permute(order).reshape(len(rows), lead.numel() // max(len(rows), 1))
    found = rows.gather(1, index).view([lead[d] for d in order])
    return found.permute([order.index(d) for d in range(len(lead))])


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


def to_ordered(raw: Tensor) -> Tensor:
    """An increasing vector (*B, K): the first entry, then softplus steps."""
    return torch.cat([raw[..., :1], F.softplus(raw[..., 1:])], -1).cumsum(-1)


def from_ordered(value: Tensor) -> Tensor:
    """The raw vector of an increasing one."""
    return torch.cat([value[..., :1], softplus_inverse(value.diff(dim=-1))], -1)


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


class Standardise(nn.Module):
    """(x − mean) / deviation for each of `width` numbers, as `learn_scales` finds them in data; before that, x itself.

    What does not vary in the data has deviation 1. mask (*B, T): which elements of x (*B, T, width) count. seen (*B, width) or
    (*B, 1): 1 for numbers that are there; the others have no part in the mean and are 0 in the result."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.learning = False

    def forward(self, x: Tensor, mask: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        if self.learning:
            self.learn(x, mask, torch.ones_like(x) if seen is None else seen)
        standard = (x - self.mean) / self.deviation
        return standard if seen is None else torch.where(seen > 0, standard, 0.0)

    def learn(self, x: Tensor, mask: Tensor | None, seen: Tensor) -> None:
        """Take the means and deviations of what counts and is there; of nothing, 0 and 1."""
        counts = (seen > 0).expand_as(x)
        if mask is not None:
            counts = counts & mask.expand(x.shape[:-1]).unsqueeze(-1)
        counts, x = counts.reshape(-1, x.shape[-1]), x.reshape(-1, x.shape[-1])
        number = counts.sum(0).clamp(min=1)
        mean = torch.where(counts, x, 0.0).sum(0) / number
        first = x.gather(0, counts.int().argmax(0, keepdim=True))
        varies = (counts & (x != first)).any(0)  # rounding may give a constant a deviation
        variance = torch.where(counts, x - mean, 0.0).square().sum(0) / number
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(varies, variance.sqrt(), 1.0))


def learn_scales(module, batch: dict[str, Tensor]) -> None:
    """Every `Standardise` of the module takes its mean and deviation from what it meets in this batch."""
    layers = [each for each in module.modules() if isinstance(each, Standardise)]
    for layer in layers:
        layer.learning = True
    module.log_prob(batch)
    for layer in layers:
        layer.learning = False


def ordinal_log_probs(place: Tensor, cuts: Tensor) -> Tensor:
    """place (*B), increasing cuts (*B, K - 1) → (*B, K): log P(cut below < place + noise < cut above) of logistic noise.

    The lowest cut is -∞ and the highest ∞ (McCullagh 1980, the proportional odds model).

    σ(u) - σ(l) = σ(u) σ(-l) (1 - exp(l - u)) loses nothing where both are near 0 or near 1.
    """
    gap = cuts - place.unsqueeze(-1)
    width = torch.diff(cuts, dim=-1)
    above, below = torch.nn.functional.logsigmoid(gap), torch.nn.functional.logsigmoid(-gap)
    inner = above[..., 1:] + below[..., :-1] + torch.log(-torch.expm1(-width))
    return torch.cat([above[..., :1], inner, below[..., -1:]], -1)


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


class Score(nn.Module):
    """(x: real[D]) → real: standardise |> mlp([32])."""

    def __init__(self, D: int):
        super().__init__()
        self.standardise = Standardise(D)
        self.mlp = nn.Sequential(nn.Linear(D, 32), nn.ReLU())
        self.out = nn.Linear(32, 1)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, D) → (*B, 32)."""
        return self.mlp(self.standardise(x))

    def forward(self, x: Tensor) -> Tensor:
        """(*B)."""
        return self.out(self.features(x)).squeeze(-1)


class OrdinalRegression(nn.Module):
    """Batch: x (item, D) real[D]; rating (item, rater) category[K]; rating_observed (item, rater) bool."""

    exact = True
    estimator = "exact"
    sums = ("sum rating in item, rater",)

    def __init__(self, R: int, D: int = 8, K: int = 5):
        super().__init__()
        self.K = K
        self.R = R
        self.raw_cuts = nn.Parameter(torch.randn(R, K - 1) * 0.1)  # (rater, K - 1)
        self.score = Score(D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def cuts(self) -> Tensor:
        """ordered[K - 1], one for each element of rater."""
        return to_ordered(self.raw_cuts)

    @cuts.setter
    def cuts(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_cuts.copy_(from_ordered(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (item,), exact, in nats."""
        rating = batch["rating"]  # (item, rater)
        rating_observed = batch["rating_observed"]  # (item, rater)
        rating_known = rating.where(rating_observed, 0)  # (item, rater)
        x = batch["x"]  # (item, D)
        score = self.score(x)  # (item,)
        cuts = to_ordered(self.raw_cuts)  # (rater, K - 1)
        log_ordinal = ordinal_log_probs(score[:, None], cuts)  # (item, rater, K)
        log_rating = categorical_log_prob(rating_known, log_ordinal)  # (item, rater)
        log_rating_2 = torch.where(rating_observed, log_rating, 0.0)  # (item, rater)
        log_rating_over_rater = log_rating_2.sum(1)  # (item,)
        return impossible_alone(log_rating_over_rater)  # (item,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        at_rating = torch.arange(self.K, device=self.one.device)  # (rating,)
        x = batch["x"]  # (item, D)
        score = self.score(x)  # (item,)
        cuts = to_ordered(self.raw_cuts)  # (rater, K - 1)
        log_ordinal = ordinal_log_probs(score[:, None], cuts)  # (item, rater, K)
        rating = batch["rating"]  # (item, rater)
        rating_observed = batch["rating_observed"]  # (item, rater)
        seen_rating = torch.where((rating[:, :, None] == at_rating) | ~rating_observed[:, :, None], 0 * self.one, -torch.inf)  # (item, rater, rating)
        tilt_rating = tilt["rating"]  # (item, rater, rating)
        log_joint_of_rating = log_ordinal + seen_rating + tilt_rating  # (item, rater, rating)
        log_sum_rating = total(log_joint_of_rating)  # (item, rater)
        log_rating_over_rater = log_sum_rating.sum(1)  # (item,)
        return log_rating_over_rater

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        rating: category[K], (item, rater).
        """
        x = batch["x"]  # (item, D)
        zeros = {"rating": self.one.new_zeros(x.shape[0], self.R, self.K)}
        found = ask(self, batch, query, zeros, {}, other=other)
        return found

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Standardise by it."""
        learn_scales(self, batch)

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        x = batch["x"]  # (item, D)
        score = self.score(x)  # (item,)
        cuts = to_ordered(self.raw_cuts)  # (rater, K - 1)
        log_ordinal = ordinal_log_probs(score[:, None], cuts)  # (item, rater, K)
        rating = decide(torch.distributions.Categorical(logits=log_ordinal).expand((n, self.R,)), rule, False)  # (item, rater)
        return {"x": x, "rating": rating, "rating_observed": torch.ones_like(rating, dtype=torch.bool)}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds x.

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
        return {name: found[name] for name in ("rating",)}
