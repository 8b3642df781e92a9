"""Rationale: emitted by vispec from rationale.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, exact up to 65536 joint values, else score(samples=8, baseline=loo)

    log_f_over_i = Σ_{i} log_f
    sum_f = log Σ_{f} exp(log_x + log_f_over_i)
    log p = sum_f

    y  data; given by the data
    f  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


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


def signal_of(weight: Tensor, baseline: Tensor | float) -> Tensor:
    """What a draw is worth beside its baseline, without gradient; 0 where it is impossible."""
    return torch.where(weight == -torch.inf, 0.0, weight - baseline).detach()


def mean_of_others(weight: Tensor) -> Tensor:
    """For each of the samples (S, B) the mean of the others that are possible, without gradient; 0 where there is none."""
    some = weight.detach() != -torch.inf
    finite = torch.where(some, weight.detach(), 0.0)
    return (finite.sum(0) - finite) / (some.sum(0) - some.long()).clamp(min=1)


def score_bound(weight: Tensor, log_q: Tensor, baseline: Tensor | float) -> Tensor:
    """The mean of the log-weights, each sample's signal less its baseline."""
    return (impossible_alone(weight) + signal_of(weight, baseline) * gradient_alone(log_q)).mean(0)


def score_bound_loo(weight: Tensor, log_q: Tensor) -> Tensor:
    """Each sample against the mean of the others (Kool et al. 2019); one sample alone has no baseline."""
    return score_bound(weight, log_q, mean_of_others(weight))


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def weighted_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Σ_t weight[t] x[t] (*B, W), weight (*B, T); as products of matrices where there are more sums than sequences."""
    if weight.shape[:-1].numel() > x.shape[:-2].numel():
        return torch.einsum("...t,...tw->...w", weight, x)  # no copies of x along the further axes
    return (x * weight[..., None]).sum(-2)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean (*B, W) of what counts, zeros where nothing does."""
    if mask is None:
        return x.sum(-2) / max(x.shape[-2], 1)
    return weighted_sum(x, mask / mask.sum(-1, keepdim=True).clamp(min=1).to(x.dtype))


def after_mean(layers: nn.Sequential, x: Tensor, mask: Tensor | None) -> Tensor:
    """layers(masked_mean(x, mask)) for layers that begin with a linear one; it comes before the mean where there are more means
    than elements, its bias as one more element that always counts."""
    first, *others = layers
    if mask is None or mask.shape[:-1].numel() <= x.shape[:-1].numel() or type(first) is not nn.Linear:
        return layers(masked_mean(x, mask))
    h = weighted_sum(before_mean(first, x), shares(mask, x))
    for layer in others:
        h = layer(h)
    return h


def before_mean(first: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer of each element, and its bias as one more: (*B, T, W) → (*B, T + 1, H)."""
    return torch.cat((F.linear(x, first.weight), first.bias.expand(*x.shape[:-2], 1, -1)), -2)


def shares(mask: Tensor, like: Tensor) -> Tensor:
    """What each element weighs in the mean of those that count, and 1 for the bias: (*B, T) → (*B, T + 1)."""
    weight = mask.to(like.dtype)
    return F.pad(weight / weight.sum(-1, keepdim=True).clamp(min=1), (0, 1), value=1.0)


def after_means(layers: nn.Sequential, elements: Tensor, mask: Tensor) -> Tensor:
    """layers(mean of what counts) for S masks (*B, S, T) of one sequence; elements (*B, T + 1, H) are of `before_mean`."""
    h, (_, *others) = shares(mask, elements) @ elements, layers  # (*B, S, H)
    for layer in others:
        h = h.relu_() if type(layer) is nn.ReLU else layer(h)
    return h


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


def take_rows(batch: dict[str, Tensor], rows: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The batch with only the chosen rows (B,) of its entries `names`."""
    return {name: value[rows] if name in names else value for name, value in batch.items()}


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


def digits(index: Tensor, latents: int, values: int) -> Tensor:
    """The joint values themselves (S, L), of index's dtype."""
    if values == 2:
        return index[:, None] >> torch.arange(latents, device=index.device) & 1  # a shift by 63 or more leaves nothing
    places = [values**place for place in range(latents) if values**place < 2**62]  # any index is smaller than the rest
    found = index[:, None] // torch.tensor(places, device=index.device) % values
    return torch.nn.functional.pad(found, (0, latents - len(places)))


def chunks(count: int, size: int, device: torch.device) -> list[Tensor]:
    """0 .. count - 1 in pieces of at most `size`."""
    return [torch.arange(start, min(start + size, count), device=device) for start in range(0, count, size)]


def values_at_once(bytes_each: int, memory: int, device: torch.device) -> int:
    """How many joint values to take at a time, of so many bytes each; on a CPU no more than its caches hold."""
    return max(1, (min(memory, 2**26) if device.type == "cpu" else memory) // bytes_each)


def seeded(log_joint, seed: int, *inputs):
    """log_joint(*inputs) with the same draws in every pass."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return log_joint(*inputs)


class ChunkedLogSum(torch.autograd.Function):
    """log Σ_s exp(log_joint(s)), twice over the chunks: for the sum, then for gradients, each chunk's by its posterior."""

    @staticmethod
    def forward(ctx, log_joint, parts, read, *tensors):  # the first `read` tensors are arguments of log_joint
        ctx.log_joint, ctx.parts, ctx.read = log_joint, parts, read
        ctx.seed = int(torch.randint(2**62, ()))
        sums = [seeded(log_joint, ctx.seed, index, *tensors[:read]).logsumexp(-1) for index in parts]
        log_z = torch.stack(sums).logsumexp(0)
        ctx.save_for_backward(log_z, *tensors)
        return log_z

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        log_z, *tensors = ctx.saved_tensors
        tensors[: ctx.read] = [x.detach().requires_grad_(x.requires_grad) for x in tensors[: ctx.read]]
        wanted = [x for x in tensors if x.requires_grad]
        sums = [torch.zeros_like(x) for x in wanted]
        level = log_z.masked_fill(log_z == -torch.inf, 0.0).unsqueeze(-1)
        for index in ctx.parts:
            with torch.enable_grad():
                log_joint = seeded(ctx.log_joint, ctx.seed, index, *tensors[: ctx.read])
            weight = (log_joint.detach() - level).clamp_(min=-80.0).exp_()
            weight = torch.threshold_(weight, 2e-35, 0.0) * grad.unsqueeze(-1)
            for total, part in zip(sums, torch.autograd.grad(log_joint, wanted, weight, allow_unused=True), strict=True):
                if part is not None:
                    total += part
        found = iter(sums)
        return None, None, None, *(next(found) if x.requires_grad else None for x in tensors)


def enumerated_log_sum(
    log_joint, context: tuple[Tensor, ...], count: int, bytes_each: int, memory: int, parameters: tuple[Tensor, ...]
) -> Tensor:
    """log Σ_s exp(log_joint(s, *context)) (*B) over s < count; `parameters` are what else log_joint reads.

    Each s keeps `bytes_each` for the gradient. Where all of them together exceed `memory`, they are computed twice instead."""
    device = (*parameters, *context)[0].device
    size = values_at_once(bytes_each, memory, device)
    if count <= size or torch.compiler.is_compiling():
        return log_sum_exp(log_joint(torch.arange(count, device=device), *context))
    parts = chunks(count, size, device)
    if count * bytes_each > memory:
        return ChunkedLogSum.apply(log_joint, parts, len(context), *context, *parameters)
    seed = int(torch.randint(2**62, ()))
    return log_sum_exp(torch.cat([seeded(log_joint, seed, index, *context) for index in parts], -1))


def every_log_joint(log_joint, context: tuple[Tensor, ...], count: int, size: int, device: torch.device) -> Tensor:
    """log_joint of every s (*B, count), without gradients."""
    with torch.no_grad():
        return torch.cat([log_joint(index, *context) for index in chunks(count, size, device)], -1)


def tilt_of_joint(tilt: Tensor, count: int) -> Tensor:
    """Σ_l tilt[..., l, digit_l(s)] for every s < count: (*B, L, C) → (*B, count)."""
    found = tilt.new_zeros(*tilt.shape[:-2], 1)
    for each in tilt.unbind(-2):
        if found.shape[-1] < count:
            found = (each.unsqueeze(-1) + found.unsqueeze(-2)).flatten(-2)
    return found


def number_of_joint_values(latents: int, values: int, limit: int) -> int:
    """values ** latents. Raises ValueError past `limit`."""
    count = values**latents
    if count > limit:
        raise ValueError(f"{latents} latents of {values} values have {count} joint values; at most {limit} are enumerated")
    return count


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


class GradientAlone(torch.autograd.Function):
    """0, with the gradient of the argument: a term of an estimate's gradient, of which no value is the integral."""

    @staticmethod
    def forward(ctx, x):
        return torch.zeros_like(x)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        return grad


def gradient_alone(x: Tensor) -> Tensor:
    """0 everywhere; its gradient goes to x, once."""
    return GradientAlone.apply(x)


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value broadcast to (*B) → (*B)."""
    lead = logits.shape[:-1]
    return -F.cross_entropy(logits.flatten(0, -2), value.expand(lead).flatten(), reduction="none").view(lead)


class Select(nn.Module):
    """(word: token[V]) → unit: embed(64) |> mlp([64])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 1)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 64)."""
        return self.mlp(self.embed(word))

    def forward(self, word: Tensor) -> Tensor:
        """(*B) log-odds."""
        return self.out(self.features(word)).squeeze(-1)


class Classify(nn.Module):
    """(words: token[V]*) → simplex[5]: embed(128) |> mean |> mlp([128])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 128)
        self.mlp = nn.Sequential(nn.Linear(128, 128), nn.ReLU())
        self.out = nn.Linear(128, 5)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 128)."""
        return after_mean(self.mlp, self.embed(words), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """(*B, 5) unnormalised log-probabilities."""
        return self.out(self.features(words, words_mask=words_mask))

    def elements(self, words: Tensor) -> Tensor:
        """What is the same for every choice: (*B, T + 1, H)."""
        return before_mean(self.mlp[0], self.embed(words))

    def of_elements(self, elements: Tensor, words_mask: Tensor) -> Tensor:
        """elements (*B, T + 1, H) of that method, words_mask (*B, S, T) → (*B, S, 5) unnormalised log-probabilities."""
        return self.out(after_means(self.mlp, elements, words_mask))


class Rationale(nn.Module):
    """Batch: y (review, i) token[V]; x (review) category[5]; y_len (review)."""

    exact = False
    estimator = "exact up to 65536 joint values, else score(samples=8, baseline=loo)"
    sums = ("sum f in review",)

    def __init__(self, V: int):
        super().__init__()
        self.select = Select(V)
        self.classify = Classify(V)
        self.memory = 2**30  # bytes that a sum over joint values may take at once
        self.max_joint_values = 2**24
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def context_of_f(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """What the log-joint of every value of f reads, computed once: y, y_len, inside_i, select_2_inside, log_f_none, x, classify_elements."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = select[y_row]  # (review, i)
        select_2_inside = torch.where(inside_i, select_2, 0.0)  # (review, i)
        log_f_none = torch.where(inside_i, F.logsigmoid(-select_2), 0.0).sum(-1, keepdim=True)  # (review, i)
        x = batch["x"]  # (review,)
        classify_elements = self.classify.elements(y)  # (review, T + 1, H)
        return y, y_len, inside_i, select_2_inside, log_f_none, x, classify_elements

    def log_joint_of_f(self, index: Tensor, y: Tensor, y_len: Tensor, inside_i: Tensor, select_2_inside: Tensor, log_f_none: Tensor, x: Tensor, classify_elements: Tensor) -> Tensor:
        """The log-joint (review, f) of each row at the joint values of f that `index` (S,) numbers."""
        f_values = digits(index, y.shape[1], 2).to(self.one.dtype)  # (f, i)
        log_f = log_f_none + select_2_inside @ f_values.T  # (review, f)
        f_values_chosen = f_values.bool()  # (f, i)
        chosen = inside_i[:, None] & f_values_chosen  # (review, f, i)
        classify = self.classify.of_elements(classify_elements, chosen)  # (review, f, 5)
        log_x = logits_log_prob(classify, x[:, None])  # (review, f)
        valid = index < 2 ** y_len[:, None]  # (review, f)
        log_joint_of_f = log_x + log_f  # (review, f)
        log_joint = torch.where(valid, log_joint_of_f, -torch.inf)  # (review, f)
        return log_joint

    def exact_log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """An estimate on log p of each row (review,), in nats: exact up to 65536 joint values, else score(samples=8, baseline=loo)."""
        batch = with_room(batch)
        y_len = batch["y_len"]  # (review,)
        count = number_of_joint_values(max(int(y_len.max()), 1), 2, self.max_joint_values)
        y = batch["y"]  # (review, i)
        bytes_each = y.shape[0] * (12 * (4 + (256 + 5)))
        return enumerated_log_sum(self.log_joint_of_f, self.context_of_f(batch), count, bytes_each, self.memory, tuple(self.parameters()))  # (review,)

    def estimated_log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (review,), in nats: score(samples=8, baseline=loo)."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = select[y_row]  # (review, i)
        f = torch.distributions.Bernoulli(logits=select_2).expand((8, y.shape[0], y.shape[1],)).sample()  # (s*, review, i)
        x = batch["x"]  # (review,)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        f_chosen = f.bool()  # (s*, review, i)
        chosen = inside_i & f_chosen  # (s*, review, i)
        classify = self.classify(y, words_mask=chosen)  # (s*, review, 5)
        log_x = logits_log_prob(classify, x)  # (s*, review)
        log_q_f = bernoulli_log_prob(f, select_2)  # (s*, review, i)
        log_f_over_i = torch.where(inside_i, log_q_f, 0.0).sum(2)  # (s*, review)
        return score_bound_loo(log_x, log_f_over_i)  # (review,)

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (review,) in nats: exact up to 65536 joint values, else score(samples=8, baseline=loo)."""
        few = batch["y_len"] <= 16  # 2 ** 16 joint values
        if few.all():
            return self.exact_log_prob(batch)
        if not few.any():
            return self.estimated_log_prob(batch)
        log_prob = self.one.new_empty(len(few))
        log_prob[few] = self.exact_log_prob(take_rows(batch, few, ("y", "x", "y_len",)))
        log_prob[~few] = self.estimated_log_prob(take_rows(batch, ~few, ("y", "x", "y_len",)))
        return log_prob

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, review)."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = select[y_row]  # (review, i)
        f = torch.distributions.Bernoulli(logits=select_2).expand((samples, y.shape[0], y.shape[1],)).sample()  # (s*, review, i)
        x = batch["x"]  # (review,)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        f_chosen = f.bool()  # (s*, review, i)
        chosen = inside_i & f_chosen  # (s*, review, i)
        classify = self.classify(y, words_mask=chosen)  # (s*, review, 5)
        log_x = logits_log_prob(classify, x)  # (s*, review)
        return log_x

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        batch = with_room(batch)
        y_len = batch["y_len"]  # (review,)
        count = number_of_joint_values(max(int(y_len.max()), 1), 2, self.max_joint_values)
        y = batch["y"]  # (review, i)
        bytes_each = y.shape[0] * (12 * (4 + (256 + 5)))
        size = values_at_once(bytes_each, self.memory, self.one.device)
        log_joint = every_log_joint(self.log_joint_of_f, self.context_of_f(batch), count, size, self.one.device)  # (review, f)
        tilt_f = tilt["f"]  # (review, i, f)
        tilt_of_values = tilt_of_joint(tilt_f, count)  # (review, f)
        tilted = log_joint + tilt_of_values  # (review, f)
        log_sum_f = total(tilted)  # (review,)
        return log_sum_f

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        f: bit, (review, i).
        """
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        zeros = {"f": self.one.new_zeros(y.shape[0], y.shape[1], 2)}
        found = ask(self, batch, query, zeros, {"f": inside_i}, other=other)
        return found

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = select[y_row]  # (review, i)
        f = decide(torch.distributions.Bernoulli(logits=select_2).expand((n, y.shape[1],)), "sample", True)  # (review, i)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        f_chosen = f.bool()  # (review, i)
        chosen = inside_i & f_chosen  # (review, i)
        classify = self.classify(y, words_mask=chosen)  # (review, 5)
        x = decide(torch.distributions.Categorical(logits=classify).expand((n,)), rule, False)  # (review,)
        return {"y": y, "f": f, "x": x, "y_len": y_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
