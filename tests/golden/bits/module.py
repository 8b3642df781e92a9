"""Bits: emitted by vispec from bits.vispec; imports torch and nothing else.

    log_prob: exact

    log_z_over_k = Σ_{k} log_z
    log_x_over_i = Σ_{i} log_x
    sum_z = log Σ_{z} exp(log_z_over_k + log_x_over_i)
    log p = sum_z

    z  summed; discrete; independent in each element of its plates
    x  data; scored at the data
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


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class Recurrent(nn.RNNBase):
    """States (*B, T, H) of an "LSTM" or "GRU" that reads x (*B, T, W) from left to right.

    init (*B, G·L·H): the states before the first element, of L layers; G is 2 for an LSTM (hidden, cell) and 1 for a GRU.
    What pads a sequence at its end has no effect on the states before.
    """

    def forward(self, x: Tensor, init: Tensor | None = None) -> Tensor:
        lead, groups = x.shape[:-2], 2 if self.mode == "LSTM" else 1
        shape = (groups * self.num_layers, self.hidden_size)
        if init is None:
            init = x.new_zeros(*[1] * len(lead), shape[0] * shape[1])
        lead = torch.broadcast_shapes(lead, init.shape[:-1])
        rows = lead.numel()
        state = init.expand(*lead, -1).reshape(rows, *shape).transpose(0, 1).contiguous()  # (G·L, N, H)
        if not x.shape[-2]:
            return x.new_zeros(*lead, 0, self.hidden_size)
        flat = x.expand(*lead, -1, -1).reshape(rows, *x.shape[-2:])  # (N, T, W)
        read = self.steps if torch.compiler.is_compiling() else self.fused
        return read(flat, state).reshape(*lead, x.shape[-2], self.hidden_size)

    def fused(self, x: Tensor, state: Tensor) -> Tensor:
        weights: list[Tensor] = [weight for layer in self.all_weights for weight in layer]
        settings = (weights, True, self.num_layers, self.dropout, self.training, False, True)
        if self.mode == "LSTM":
            return torch.lstm(x, state.chunk(2), *settings)[0]
        return torch.gru(x, state, *settings)[0]

    def steps(self, x: Tensor, state: Tensor) -> Tensor:
        """What `fused` computes, for torch.compile, which cannot trace it."""
        cell = self.lstm_step if self.mode == "LSTM" else self.gru_step
        states = state.unflatten(0, (-1, self.num_layers)).unbind(1)  # of each layer (G, N, H)
        for layer, now in enumerate(states):
            weight, bias = getattr(self, f"weight_hh_l{layer}"), getattr(self, f"bias_hh_l{layer}")
            gates = F.linear(x, getattr(self, f"weight_ih_l{layer}"), getattr(self, f"bias_ih_l{layer}"))
            now, out = now.unbind(0), []
            for t in range(x.shape[1]):
                now = cell(gates[:, t], F.linear(now[0], weight, bias), *now)
                out.append(now[0])
            x = torch.stack(out, 1)
            if layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return x

    @staticmethod
    def lstm_step(read: Tensor, kept: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (read + kept).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    @staticmethod
    def gru_step(read: Tensor, kept: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        (r, z, n), (kept_r, kept_z, kept_n) = read.chunk(3, -1), kept.chunk(3, -1)
        z = (z + kept_z).sigmoid()
        return ((1 - z) * (n + (r + kept_r).sigmoid() * kept_n).tanh() + z * h,)


def after_start(x: Tensor, start: Tensor) -> Tensor:
    """A learned vector (W,) and all elements but the last: position i of (*B, T, W) holds the one before i."""
    return torch.cat((start.expand(*x.shape[:-2], 1, -1), x[..., :-1, :]), -2)


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


def bit_log_prob(value: Tensor, p: Tensor) -> Tensor:
    """log P(value) of a bit that is 1 with probability p, elementwise; certain at p = 0 and p = 1."""
    return LogOfProbability.apply(torch.where(value > 0, p, 1 - p))


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


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value broadcast to (*B) → (*B)."""
    lead = logits.shape[:-1]
    return -F.cross_entropy(logits.flatten(0, -2), value.expand(lead).flatten(), reduction="none").view(lead)


class Past(nn.Module):
    """(prefix: token[CHAR]*) → real[H]: lstm(embed=64, hidden=256)."""

    def __init__(self, H: int, CHAR: int):
        super().__init__()
        self.embed = nn.Embedding(CHAR, 64)
        self.start = nn.Parameter(torch.zeros(64))
        self.lstm = Recurrent("LSTM", 64, 256, batch_first=True)
        self.out = nn.Linear(256, H)

    def prefix_features(self, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """prefix (*B, T) → (*B, T, 256); position i has read only what stands before it."""
        return self.lstm(after_start(self.embed(prefix), self.start))

    def prefixes(self, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, H)."""
        return self.out(self.prefix_features(prefix, prefix_mask=prefix_mask))


class Speller(nn.Module):
    """(h: real[H], z: bit[K]) → simplex[CHAR]: mlp([32])."""

    def __init__(self, K: int, H: int, CHAR: int):
        super().__init__()
        self.from_h = nn.Linear(H, 32)
        self.from_z = nn.Linear(K, 32, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(32, CHAR)

    def features(self, h: Tensor, z: Tensor) -> Tensor:
        """h (*B, H), z (*B, K) → (*B, 32)."""
        return self.mlp(self.from_h(h) + self.from_z(z))

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """(*B, CHAR) unnormalised log-probabilities."""
        return self.out(self.features(h, z))


class Bits(nn.Module):
    """Batch: x (word, i) token[CHAR]; x_len (word)."""

    exact = True
    estimator = "exact"
    sums = ("sum z in word",)

    def __init__(self, CHAR: int, K: int = 10, H: int = 256):
        super().__init__()
        self.K = K
        self.CHAR = CHAR
        self.past = Past(H, CHAR)
        self.speller = Speller(K, H, CHAR)
        self.memory = 2**30  # bytes that a sum over joint values may take at once
        self.max_joint_values = 2**24
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def context_of_z(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """What the log-joint of every value of z reads, computed once: x, inside_i, past."""
        batch = with_room(batch)
        x = batch["x"]  # (word, i)
        x_len = batch["x_len"]  # (word,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (word, i)
        past = self.past.prefixes(x)  # (word, i, H)
        return x, inside_i, past

    def log_joint_of_z(self, index: Tensor, x: Tensor, inside_i: Tensor, past: Tensor) -> Tensor:
        """The log-joint (word, z) of each row at the joint values of z that `index` (S,) numbers."""
        z_values = digits(index, self.K, 2).to(self.one.dtype)  # (z, k)
        log_z = bit_log_prob(z_values.T, (self.one * 0.5))  # (k, z)
        speller = self.speller(past[:, :, None], z_values)  # (word, i, z, CHAR)
        log_x = logits_log_prob(speller, x[:, :, None])  # (word, i, z)
        log_z_over_k = log_z.sum(0)  # (z,)
        log_x_over_i = torch.where(inside_i[:, :, None], log_x, 0.0).sum(1)  # (word, z)
        log_joint_of_z = log_z_over_k + log_x_over_i  # (word, z)
        return log_joint_of_z

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (word,), exact, in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (word, i)
        count = number_of_joint_values(self.K, 2, self.max_joint_values)
        bytes_each = x.shape[0] * (12 * (4 + (32 + self.CHAR) * x.shape[1]))
        return enumerated_log_sum(self.log_joint_of_z, self.context_of_z(batch), count, bytes_each, self.memory, tuple(self.parameters()))  # (word,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        batch = with_room(batch)
        x = batch["x"]  # (word, i)
        count = number_of_joint_values(self.K, 2, self.max_joint_values)
        bytes_each = x.shape[0] * (12 * (4 + (32 + self.CHAR) * x.shape[1]))
        size = values_at_once(bytes_each, self.memory, self.one.device)
        log_joint = every_log_joint(self.log_joint_of_z, self.context_of_z(batch), count, size, self.one.device)  # (word, z)
        tilt_z = tilt["z"]  # (word, k, z)
        tilt_of_values = tilt_of_joint(tilt_z, count)  # (word, z)
        tilted = log_joint + tilt_of_values  # (word, z)
        log_sum_z = total(tilted)  # (word,)
        return log_sum_z

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        z: bit, (word, k).
        """
        batch = with_room(batch)
        x = batch["x"]  # (word, i)
        zeros = {"z": self.one.new_zeros(x.shape[0], self.K, 2)}
        found = ask(self, batch, query, zeros, {}, other=other)
        return found

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = decide(torch.distributions.Bernoulli(probs=(self.one * 0.5)).expand((n, self.K,)), "sample", True)  # (word, k)
        x_len = lengths["i"]  # (word,)
        i_size = max(int(x_len.max()), 1)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (word, i)
        for i in range(i_size):
            past = self.past.prefixes(x)  # (word, i, H)
            speller = self.speller(past[:, i], z)  # (word, CHAR)
            x_now = decide(torch.distributions.Categorical(logits=speller).expand((n,)), rule, True)  # (word,)
            x[:, i] = x_now
        return {"z": z, "x": x, "x_len": x_len}

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
