"""LeftToRight: emitted by vispec from left_to_right.vispec; imports torch and nothing else.

    log_prob: exact

    chain_c = log Σ_{paths of c} exp(log_c + log_x), forward recursion
    log p = chain_c

    c  chain, summed; discrete; a first-order chain along t: one forward pass
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn


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


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


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


def choose(test, then: Tensor, otherwise: Tensor, rank: int | None = None) -> Tensor:
    """One value or the other (*B, *rest) by a condition (*B), or by one that broadcasts to it where B has `rank` dimensions.

    A categorical law's mean has its probabilities last."""
    test = torch.as_tensor(test, device=then.device).bool()
    after = then.dim() - (test.dim() if rank is None else rank)
    return torch.where(test.view(*test.shape, *[1] * after) if test.dim() else test, then, otherwise)


def put(buffer: Tensor, at: int, index: int, value: Tensor) -> Tensor:
    """The buffer with a value in the place of its slice along dimension `at`; larger by one dimension if the value is."""
    if value.dim() == buffer.dim():
        buffer = value.new_zeros(*buffer.shape, value.shape[-1])
    buffer.select(at, index).copy_(value)
    return buffer


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


def pairs(tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], chain: dict[str, int]) -> dict[str, Tensor]:
    """p(z[t-1], z[t] | x) of each chain, (B, *plates, K, K) with T - 1 along the chain's own dimension, which `chain` says;
    0 past a chain's length. The tilt has T, its first element is not read."""
    found = answer(lambda batch, _, tilt: tilted(batch, tilt), batch, None, tilt)[1]
    return {name: p.narrow(chain[name], 1, p.shape[chain[name]] - 1) for name, p in found.items()}


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


def chain_total(total, log_init: Tensor, log_step: Tensor, log_seen: Tensor, length: Tensor | None = None) -> Tensor:
    """A chain's sum (*B) under an algebra: log_init (*B, K); log_step (K, K) or (*B, T-1 or 1, K, K); log_seen (*B, T, K)."""
    steps = log_seen.shape[-2]
    log_step = log_step.transpose(-1, -2)  # to × from, so that sums are over the last dimension
    alpha = log_init + log_seen[..., 0, :]
    for t in range(1, steps):
        move = log_step if log_step.dim() == 2 else log_step[..., min(t, log_step.shape[-3]) - 1, :, :]
        after = total(alpha.unsqueeze(-2) + move) + log_seen[..., t, :]
        alpha = after if length is None else torch.where((t < length).unsqueeze(-1), after, alpha)
    return total(alpha) if length is None else total(alpha).masked_fill(length == 0, 0.0)


def chain_log_prob(log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None = None) -> Tensor:
    """log Z (*B,), -inf where no path is possible. Its gradients are posterior probabilities: p(z_t | x) for log_obs,
    p(z_1 | x) for log_init, p(z_{t-1}, z_t | x) for log_trans, summed over what log_trans is shared by."""
    chain = canonical(log_init, log_trans, log_obs, length)
    grad = torch.is_grad_enabled() and any(x.requires_grad for x in chain)
    log_z = chain_op(*chain, grad)[0] if torch.compiler.is_compiling() else ChainSums.apply(*chain, grad, None)
    return log_z.view(batch_of(log_init, log_trans, log_obs, length))


def batch_of(log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None) -> torch.Size:
    """*B: the leading axes of all arguments together."""
    lengths = torch.Size() if length is None else length.shape
    return torch.broadcast_shapes(log_init.shape[:-1], log_trans.shape[:-3], log_obs.shape[:-2], lengths)


def canonical(
    log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """init (B, K), trans (1 or B, 1 or T-1, K, K), obs (B, T, K) and length (B,)."""
    batch, (T, K) = batch_of(log_init, log_trans, log_obs, length), log_obs.shape[-2:]
    B, n = batch.numel(), log_trans.shape[-3] if log_trans.dim() > 2 else 1
    own = log_trans.expand(*batch, n, K, K).reshape(B, n, K, K) if log_trans.dim() > 3 else log_trans.view(1, n, K, K)
    full = torch.full(batch, T, device=log_obs.device) if length is None else length.expand(batch)
    obs = log_obs.expand(*batch, T, K).reshape(B, T, K)
    return log_init.expand(*batch, K).reshape(B, K), own, obs, full.reshape(B)


def chain_sums(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    """log Z (B,) and, if grad, p(z_t | x) (T, B, K) and p(z_{t-1}, z_t | x) (B, T-1, K, K), or its sum over t (B, 1, K, K)
    where trans is the same for all t."""
    log_z, state, links = sums(init, trans, obs, length, grad)
    return log_z, state, pairs_of(links)


def sums(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool, tokens: Tensor | None = None) -> tuple:
    """chain_sums with what `pairs_of` takes for pairs; with tokens (B, T), obs is a table (V, K) of which they choose rows."""
    log_z, state, links, doubt = scaled_sums(init, trans, obs, length, grad, tokens)
    for again in (scaled_sums, log_sums):
        if not doubt.any():
            break
        rows = doubt.nonzero()[:, 0]
        seen = obs[rows] if tokens is None else obs[tokens[rows]]
        some = (init[rows], trans if len(trans) == 1 else trans[rows], seen)
        redone = again(*(x.double() for x in some), length[rows], grad)
        log_z[rows], doubt[rows] = redone[0].to(log_z.dtype), redone[3]
        if grad:
            links = pairs_of(links)
            state[:, rows], links[rows] = redone[1].to(state.dtype), pairs_of(redone[2]).to(links.dtype)
    return log_z, state, links


def chain_save(ctx, inputs, output) -> None:
    ctx.shared = len(inputs[1]) == 1
    ctx.save_for_backward(output[1], *(output[2:] if isinstance(output[2], Tensor) else output[2]))


def chain_gradient(ctx, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The posterior probabilities, each chain's weighted by its g (B,)."""
    state, *links = ctx.saved_tensors
    if ctx.shared and len(links) == 3 and len(links[2]) == 1:  # one product over all chains and elements
        first, last, forth = links
        pair = ((g[:, None] * first).flatten(0, 1).T @ last.flatten(0, 1)).mul_(forth[0, 0])[None, None]
    else:
        pair = links[0] if len(links) == 1 else pairs_of(links)
        pair = (g @ pair.flatten(1)).view(1, *pair.shape[1:]) if ctx.shared else g[:, None, None, None] * pair
    state = g[:, None] * state
    return state[0], pair, state.transpose(0, 1)


class ChainSums(torch.autograd.Function):
    """log Z (B,) of what `sums` takes."""

    @staticmethod
    def forward(ctx, init, trans, obs, length, grad, tokens):
        found = sums(init, trans, obs, length, grad, tokens)
        chain_save(ctx, (init, trans), found)
        ctx.tokens, ctx.values = tokens, len(obs)
        return found[0]

    @staticmethod
    @first_derivative
    def backward(ctx, g):
        init, trans, obs = chain_gradient(ctx, g)
        if ctx.tokens is not None:
            rows = obs.transpose(0, 1).flatten(0, 1)
            obs = rows.new_zeros(ctx.values, rows.shape[1]).index_add_(0, ctx.tokens.T.reshape(-1), rows)
        return init, trans, obs, None, None, None


def unused(name: str) -> str:
    """A name for an operator that no other module of this process has registered."""
    count = 0
    while hasattr(torch.ops.vispec, f"{name}_{count}"):
        count += 1
    return f"vispec::{name}_{count}"


def chain_shapes(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    (B, T, K), n = obs.shape, trans.shape[1]
    return obs.new_empty(B), obs.new_empty((T, B, K) if grad else 0), obs.new_empty((B, n, K, K) if grad else 0)


# torch.compile cannot look into chain_sums, whose work depends on the data, and takes it as an operator.
chain_op = torch.library.custom_op(unused("chain_sums"), chain_sums, mutates_args=())
chain_op.register_fake(chain_shapes)
chain_op.register_autograd(first_derivative(lambda ctx, g, *_: (*chain_gradient(ctx, g), None, None)), setup_context=chain_save)


def scaled_sums(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool, tokens: Tensor | None = None) -> tuple:
    """As `sums`, by products of rescaled probabilities; and where that was not precise enough, bool (B,)."""
    (B, T), K, n, D = obs.shape[:2] if tokens is None else tokens.shape, obs.shape[-1], trans.shape[1], 2 if grad else 1
    real = torch.finfo(obs.dtype)
    ragged, rows = bool((length < T).any()), torch.arange(B, device=obs.device)
    time, end = torch.arange(T, device=obs.device)[:, None], (length - 1).clamp_(min=0)
    past = time >= length  # (T, B)
    mirror = (length - 1 - time).clamp_(min=0) if ragged else T - 1 - time  # where element t is, counted from the end

    def clear(x: Tensor) -> Tensor:
        return x.masked_fill_(past[..., None], 0) if ragged else x

    def turn(x: Tensor) -> Tensor:  # (T, B, ...), each chain read from its end
        return x.flatten(0, 1).index_select(0, (mirror * B + rows).view(-1)).view(x.shape) if ragged else x.flip(0)

    def both(forth: Tensor) -> Tensor:  # the second direction beside the first
        if not grad:
            return forth
        back = forth.expand(n, B, K, K)[mirror[1:], rows] if n > 1 and ragged else forth.flip(0)
        return torch.cat([forth.expand_as(back), back.mT], 1)

    # Weights of at most 1: what leaves a state sums to at most 1, and the largest of each row of obs is 1.
    room = SPARE.pop() if SPARE else None
    beside = D == 2 and trans.shape[:2] == (1, 1) and K <= 32
    room = room if room is not None and room.fits(T, (D, B, K), beside, obs) else Room(T, (D, B, K), beside, obs)
    level = trans.logsumexp(3).amax(2).clamp_(min=real.min)  # (1 or B, n), 0 for laws of the next state
    forth = weights(trans - level[:, :, None, None]).transpose(0, 1)
    top, factor = fill(room, T, init, obs, tokens, turn), room.factor[:T, 0]
    if ragged:
        factor.masked_fill_(past[..., None], 1)
    if grad and tokens is None:
        room.factor[:T, 1] = turn(factor)
    elif grad:
        room.factor[end if ragged else T - 1, 1, rows] = factor[0]
    step = both(forth)  # (n, D or D B, K, K)
    lift = real.max**0.375  # its square still fits
    before, after, scale = room.sweep(T, step, lift)

    total = (after[end, 0, rows] if ragged else after[T - 1, 0]).sum(1)
    shift = scale[:, 0].log()
    shift = (shift.masked_fill_(past[RESCALE::RESCALE], 0) if ragged else shift).sum(0, dtype=torch.double)
    # the levels of the steps taken
    steps = level[:, 0].double() * end if n == 1 else level.T.masked_fill(past[1:], 0).sum(0, dtype=torch.double)
    log_z = clear(top).sum((0, 2), dtype=torch.double) + shift + steps + (total / lift).log()
    log_z = log_z.to(obs.dtype)
    log_z = log_z.masked_fill_(length == 0, 0) if ragged else log_z

    def possible() -> tuple[Tensor, Tensor]:
        some = torch.empty_like(after)
        some[:, 0] = (obs > -torch.inf).transpose(0, 1) if tokens is None else (obs > -torch.inf)[tokens.T]
        some[0, 0] *= init > -torch.inf
        if grad:
            some[:, 1] = turn(some[:, 0])
        return some, both((trans > -torch.inf).to(obs.dtype).transpose(0, 1))

    if not grad:
        doubt = imprecise(before, step, after[:, 0], past, possible)
        SPARE.append(room)
        return log_z, obs.new_empty(0), obs.new_empty(0), doubt  # no posteriors

    last = turn(after[:, 1])  # (T, B, K) the weight of element t and of all that follows, for each state
    state = before[:, 0] * last
    norm = state.sum(2, keepdim=True)
    doubt = imprecise(before, step, norm, past, possible)
    clear(state.div_(norm))
    links = clear(after[:, 0].clone())[:-1], clear(last.div_(norm))[1:], forth
    SPARE.append(room)
    return log_z, state, links, doubt


def fill(room: "Room", T: int, init: Tensor, obs: Tensor, tokens: Tensor | None, turn) -> Tensor:
    """Weights of all states at each element, the largest 1, into the room's factor, of which D = 1 is what `turn` turns; that
    is left to the caller where there are no tokens. Returns their logarithms (T, B, 1)."""
    factor, least = room.factor[:T], torch.finfo(obs.dtype).min
    if tokens is None:
        seen = obs.transpose(0, 1)
        top, first = seen.amax(2, keepdim=True).clamp_(min=least), seen[0]
        weights(torch.sub(seen, top, out=factor[:, 0]))
    else:
        peak, ways = obs.amax(1).clamp_(min=least), tokens.T
        top, first = peak[ways][..., None], obs[tokens[:, 0]]
        ways = torch.stack([ways, turn(ways)], 2 if room.beside else 1) if factor.shape[1] == 2 else ways
        torch.index_select(weights(obs - peak[:, None]), 0, ways.reshape(-1), out=room.rows[:T].view(-1, obs.shape[1]))
    first = first + init
    top[0] = first.amax(1, keepdim=True).clamp_(min=least)
    factor[0, 0] = weights(first.sub_(top[0]))
    return top


def pairs_of(links) -> Tensor:
    """p(z_{t-1}, z_t | x) (B, n, K, K), summed over t where n = 1, of what comes before and after (T-1, B, K) and steps
    (n, 1 or B, K, K)."""
    if isinstance(links, Tensor):
        return links
    first, last, forth = links
    if len(forth) == 1:
        return (first.permute(1, 2, 0) @ last.transpose(0, 1)).mul_(forth[0])[:, None]
    return (first[..., None] * forth * last[:, :, None]).transpose(0, 1).contiguous()


def log_sums(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As scaled_sums, in log space: exact for any potentials, several times slower."""
    (B, T, K), n = obs.shape, trans.shape[1]
    forward = [init + obs[:, 0]]
    for t in range(1, T):
        new = torch.logsumexp(forward[-1][:, :, None] + trans[:, (t - 1) % n], 1) + obs[:, t]
        forward.append(torch.where((t < length)[:, None], new, forward[-1]))
    log_z = torch.logsumexp(forward[-1], 1).masked_fill(length == 0, 0)
    sure = torch.zeros_like(length, dtype=torch.bool)
    if not grad:
        return log_z, obs.new_empty(0), obs.new_empty(0), sure
    rest = remainders(trans, obs, length)
    base = log_z.clamp(min=torch.finfo(obs.dtype).min)[:, None]  # an impossible chain has no posterior, only zeros
    inside = torch.arange(T, device=obs.device)[:, None] < length
    state = torch.stack([(a + b - base).exp() for a, b in zip(forward, rest, strict=True)]).where(inside[..., None], 0)
    pair = torch.zeros(B, n, K, K, dtype=obs.dtype, device=obs.device)
    for t in range(1, T):
        joint = forward[t - 1][:, :, None] + trans[:, (t - 1) % n] + (obs[:, t] + rest[t] - base)[:, None]
        pair[:, (t - 1) % n] += joint.exp().where(inside[t, :, None, None], 0)
    return log_z, state, pair, sure


def remainders(trans: Tensor, obs: Tensor, length: Tensor) -> list[Tensor]:
    """For each t (B, K): the log weight of all that follows state k at t."""
    (B, T, K), n = obs.shape, trans.shape[1]
    rest = [obs.new_zeros(B, K)]
    for t in range(T - 1, 0, -1):
        new = torch.logsumexp(trans[:, (t - 1) % n] + (obs[:, t] + rest[-1])[:, None], 2)
        rest.append(torch.where((t < length)[:, None], new, 0))
    return rest[::-1]


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


def columns(table: Tensor, index: Tensor) -> Tensor:
    """table (K, V), index (*B) → (*B, K). The gradient of torch's embedding takes four times as long."""
    return table.T.contiguous().index_select(0, index.reshape(-1)).view(*index.shape, len(table))


RESCALE = 8  # steps between two divisions by the largest weight


class Room:
    """Memory for the sweeps of a batch, kept for the next one: to ask for it anew takes as long as the arithmetic.

    factor, before and after are (T, D, B, K), for D directions. They stand side by side, (T, B, D, K) in memory, where a step
    of all of them is one product with a block diagonal matrix: for few states, that is faster than a batch of products."""

    def __init__(self, T: int, shape: tuple[int, int, int], beside: bool, like: Tensor):
        (D, B, K), self.beside = shape, beside
        self.rows, before, after = (like.new_empty((T, B, D, K) if beside else (T, D, B, K)) for _ in range(3))
        self.factor, self.before, self.after = (x.transpose(1, 2) if beside else x for x in (self.rows, before, after))
        factor, before, after = (x.flatten(2).unbind(0) if beside else x.unbind(0) for x in (self.rows, before, after))
        self.steps = list(zip(after, before[1:], factor[1:], after[1:], strict=False))

    def fits(self, T: int, shape: tuple[int, int, int], beside: bool, like: Tensor) -> bool:
        own = self.factor
        same = own.shape[0] >= T and own.shape[1:] == shape and self.beside == beside
        return same and own.dtype == like.dtype and own.device == like.device

    def sweep(self, T: int, step: Tensor, lift: float) -> tuple[Tensor, Tensor, Tensor]:
        """before[t] = after[t-1] @ step[t-1], after[t] = before[t] * factor[t], brought back to lift if RESCALE divides t.

        before[0] = lift; factor, before and after (T, D, B, K); step (T-1, D, K, K) or (T-1, D B, K, K), or with 1 for T-1,
        which it is side by side. Returns before, after, and what after was divided by (⌊(T-1)/RESCALE⌋, D, B)."""
        (D, B, K), G, scale, tiny = self.after.shape[1:], step.shape[1], [], torch.finfo(self.after.dtype).tiny
        self.before[0] = lift
        torch.mul(self.factor[0], lift, out=self.after[0])
        by = [torch.block_diag(*step[0])] if self.beside else step.unbind(0)
        by, product = by * (T - 1) if len(step) == 1 else by, torch.mm if self.beside else torch.bmm
        for t, (times, (old, new, factor, next_)) in enumerate(zip(by, self.steps, strict=False), 1):
            if self.beside or G == D:
                product(old, times, out=new)
            else:
                torch.bmm(old.view(G, 1, K), times, out=new.view(G, 1, K))
            torch.mul(new, factor, out=next_)
            if t % RESCALE == 0:
                each = self.after[t]
                scale.append(each.amax(2, keepdim=True).mul_(1 / lift).clamp_(min=tiny))
                each.div_(scale[-1])
        scales = torch.stack(scale)[..., 0] if scale else self.after.new_empty(0, D, B)
        return self.before[:T], self.after[:T], scales


SPARE: list[Room] = []  # of each concurrent call one at most


def imprecise(before: Tensor, step: Tensor, norm: Tensor, past: Tensor, possible) -> Tensor:
    """The chains in which a sum is so small that what underflowed may matter to it, bool (B,).

    before: the sums (T, D, B, K). possible: factor and step of the sweep with 1 for all that is not impossible, asked for only
    if needed."""
    (T, D, _, K), (n, G), real = before.shape, step.shape[:2], torch.finfo(before.dtype)
    floor = 16 * real.tiny / real.eps
    if before.numel() == 0 or torch.minimum(before.amin(), norm.amin()) >= floor:
        return torch.zeros_like(past[0])
    doubt = ~((norm.sum(2) >= floor) | past).all(0)
    if T == 1:
        return doubt
    nowhere = (step == 0).all(2).view(n, D, -1, K)  # states that no other leads to: their sum is 0, exactly
    small = ~(before[1:] >= floor) & ~nowhere & ~past[1:, None, :, None]
    if small.any():  # the same for states that no path of this chain reaches
        factor, links = possible()
        gates = factor.reshape(T, G, -1, K)
        now, paths = gates[0], []
        for t in range(1, T):
            paths.append(torch.bmm(now, links[(t - 1) % n]))
            now = (paths[-1] * gates[t]).sign_()
        doubt |= (small & (torch.stack(paths).view_as(small) > 0)).any(3).any(0).any(0)
    return doubt


class LeftToRight(nn.Module):
    """Batch: x (word, t) token[CHAR]; x_len (word)."""

    exact = True
    estimator = "exact"
    sums = ("chain c in word",)

    def __init__(self, CHAR: int, K: int = 10):
        super().__init__()
        self.K = K
        self.CHAR = CHAR
        self.jump = nn.Parameter(torch.zeros(3))  # (3)
        self.raw_edge = nn.Parameter(torch.zeros(CHAR))  # (CHAR)
        self.raw_emit = nn.Parameter(torch.randn(K, CHAR) * 0.1)  # (k, CHAR)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def edge(self) -> Tensor:
        """simplex[CHAR]."""
        return self.raw_edge.softmax(-1)

    @edge.setter
    def edge(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_edge.copy_(value.log())

    @property
    def emit(self) -> Tensor:
        """simplex[CHAR], one for each element of k."""
        return self.raw_emit.softmax(-1)

    @emit.setter
    def emit(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_emit.copy_(value.log())

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (word,), exact, in nats."""
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        value = at_c == 0  # (k,)
        log = torch.log(self.one * 0)
        value_2 = torch.where(value, 0, log)  # (k,)
        log_value_2 = value_2.log_softmax(-1)  # (k,)
        value_3 = at_c[:, None] >= at_c  # (k, c')
        value_4 = at_c + 2  # (c',)
        value_5 = at_c[:, None] <= value_4  # (k, c')
        and_ = value_3 & value_5  # (k, c')
        value_6 = at_c[:, None] - at_c  # (k, c')
        jump_index = value_6.clamp(0, 2)  # (k, c')
        jump_at = self.jump[jump_index]  # (k, c')
        value_7 = torch.where(and_, jump_at, log)  # (k, c')
        value_7_by_k = value_7.movedim(0, 1)  # (c', k)
        log_value_7_by_k = value_7_by_k.log_softmax(-1)  # (c', k)
        batch = with_room(batch)
        x = batch["x"]  # (word, t)
        value_8 = at_c == (self.K - 1)  # (c,)
        or_ = value | value_8  # (c,)
        log_edge = self.raw_edge.log_softmax(-1)  # (CHAR,)
        log_x = categorical_log_prob(x, log_edge)  # (word, t)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        log_x_2 = columns(log_emit, x)  # (word, t, c)
        log_x_3 = torch.where(or_, log_x[:, :, None], log_x_2)  # (word, t, c)
        x_len = batch["x_len"]  # (word,)
        return chain_log_prob(log_value_2, log_value_7_by_k, log_x_3, x_len)  # (word,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        value = at_c == 0  # (k,)
        log = torch.log(self.one * 0)
        value_2 = torch.where(value, 0, log)  # (k,)
        log_value_2 = value_2.log_softmax(-1)  # (k,)
        value_3 = at_c[:, None] >= at_c  # (k, c')
        value_4 = at_c + 2  # (c',)
        value_5 = at_c[:, None] <= value_4  # (k, c')
        and_ = value_3 & value_5  # (k, c')
        value_6 = at_c[:, None] - at_c  # (k, c')
        jump_index = value_6.clamp(0, 2)  # (k, c')
        jump_at = self.jump[jump_index]  # (k, c')
        value_7 = torch.where(and_, jump_at, log)  # (k, c')
        value_7_by_k = value_7.movedim(0, 1)  # (c', k)
        log_value_7_by_k = value_7_by_k.log_softmax(-1)  # (c', k)
        batch = with_room(batch)
        x = batch["x"]  # (word, t)
        value_8 = at_c == (self.K - 1)  # (c,)
        or_ = value | value_8  # (c,)
        log_edge = self.raw_edge.log_softmax(-1)  # (CHAR,)
        log_x = categorical_log_prob(x, log_edge)  # (word, t)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        log_x_2 = columns(log_emit, x)  # (word, t, c)
        log_x_3 = torch.where(or_, log_x[:, :, None], log_x_2)  # (word, t, c)
        tilt_c = tilt["c"]  # (word, t, c)
        x_len = batch["x_len"]  # (word,)
        log_seen_of_c = log_x_3 + tilt_c  # (word, t, c)
        log_chain_c = chain_total(total, log_value_2, log_value_7_by_k, log_seen_of_c, x_len)  # (word,)
        return log_chain_c

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        value = at_c == 0  # (k,)
        log = torch.log(self.one * 0)
        value_2 = torch.where(value, 0, log)  # (k,)
        log_value_2 = value_2.log_softmax(-1)  # (k,)
        value_3 = at_c[:, None] >= at_c  # (k, c')
        value_4 = at_c + 2  # (c',)
        value_5 = at_c[:, None] <= value_4  # (k, c')
        and_ = value_3 & value_5  # (k, c')
        value_6 = at_c[:, None] - at_c  # (k, c')
        jump_index = value_6.clamp(0, 2)  # (k, c')
        jump_at = self.jump[jump_index]  # (k, c')
        value_7 = torch.where(and_, jump_at, log)  # (k, c')
        value_7_by_k = value_7.movedim(0, 1)  # (c', k)
        log_value_7_by_k = value_7_by_k.log_softmax(-1)  # (c', k)
        batch = with_room(batch)
        x = batch["x"]  # (word, t)
        value_8 = at_c == (self.K - 1)  # (c,)
        or_ = value | value_8  # (c,)
        log_edge = self.raw_edge.log_softmax(-1)  # (CHAR,)
        log_x = categorical_log_prob(x, log_edge)  # (word, t)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        log_x_2 = columns(log_emit, x)  # (word, t, c)
        log_x_3 = torch.where(or_, log_x[:, :, None], log_x_2)  # (word, t, c)
        tilt_c = tilt["c"]  # (word, t, c', c)
        log_first = tilt_c[:, 0, 0, :]  # (word, c)
        log_init = log_value_2 + log_first  # (word, c)
        log_step = log_value_7_by_k + tilt_c  # (word, t, c', c)
        log_later = log_step[:, 1:]  # (word, t, c', c)
        x_len = batch["x_len"]  # (word,)
        log_chain_c = chain_log_prob(log_init, log_later, log_x_3, x_len)  # (word,)
        return log_chain_c

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        c: index[k], (word, t).
        """
        batch = with_room(batch)
        x = batch["x"]  # (word, t)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, {"c": self.one.new_zeros(x.shape[0], x.shape[1], self.K, self.K)}, {"c": 1})
        x_len = batch["x_len"]  # (word,)
        at_t = torch.arange(x.shape[1], device=self.one.device)  # (t,)
        inside_t = at_t < x_len[:, None]  # (word, t)
        zeros = {"c": self.one.new_zeros(x.shape[0], x.shape[1], self.K)}
        found = ask(self, batch, query, zeros, {"c": inside_t}, other=other)
        return found

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Latents that the batch does not show are guessed."""
        batch = with_room(batch)
        x = batch["x"]  # (word, t)
        c = torch.randint(self.K, (x.shape[0], x.shape[1]), device=self.one.device)  # (word, t)
        x_len = batch["x_len"]  # (word,)
        at_t = torch.arange(x.shape[1], device=self.one.device)  # (t,)
        inside_t = at_t < x_len[:, None]  # (word, t)
        word, t = inside_t.nonzero(as_tuple=True)
        value = c == 0  # (word, t)
        value_2 = c == (self.K - 1)  # (word, t)
        or_ = value | value_2  # (word, t)
        (self.edge,) = by_group(categorical_start, x[word, t], (), (self.edge,), self.CHAR, among=or_[word, t])
        (self.emit,) = by_group(categorical_start, x[word, t], (c[word, t],), (self.emit,), self.CHAR, among=(~or_)[word, t])
        self.raw_emit += torch.randn_like(self.raw_emit)

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        x_len = lengths["t"]  # (word,)
        t_size = max(int(x_len.max()), 1)
        c = self.one.new_zeros(n, t_size, dtype=torch.long)  # (word, t)
        x = self.one.new_zeros(n, t_size, dtype=torch.long)  # (word, t)
        at_k = torch.arange(self.K, device=self.one.device)  # (k,)
        value = at_k == 0  # (k,)
        log = torch.log(self.one * 0)
        value_2 = torch.where(value, 0, log)  # (k,)
        for t in range(t_size):
            if t == 0:
                c_now = decide(torch.distributions.Categorical(logits=value_2).expand((n,)), "sample", True)  # (word,)
                c[:, t] = c_now
            else:
                at_k_2 = torch.arange(self.K, device=self.one.device)  # (k,)
                value_3 = at_k_2 >= c[:, t - 1][:, None]  # (word, k)
                value_4 = c[:, t - 1] + 2  # (word,)
                value_5 = at_k_2 <= value_4[:, None]  # (word, k)
                and_ = value_3 & value_5  # (word, k)
                value_6 = at_k_2 - c[:, t - 1][:, None]  # (word, k)
                jump_index = value_6.clamp(0, 2)  # (word, k)
                jump_at = self.jump[jump_index]  # (word, k)
                log_2 = torch.log(self.one * 0)
                value_7 = torch.where(and_, jump_at, log_2)  # (word, k)
                c_now_2 = decide(torch.distributions.Categorical(logits=value_7).expand((n,)), "sample", True)  # (word,)
                c[:, t] = c_now_2
            value_8 = c[:, t] == 0  # (word,)
            value_9 = c[:, t] == (self.K - 1)  # (word,)
            or_ = value_8 | value_9  # (word,)
            x_now = decide(torch.distributions.Categorical(logits=self.raw_edge).expand((n,)), rule, False)  # (word,)
            emit_at = self.raw_emit[c[:, t]]  # (word, CHAR)
            x_now_2 = decide(torch.distributions.Categorical(logits=emit_at).expand((n,)), rule, False)  # (word,)
            x_now_3 = choose(or_, x_now, x_now_2)  # (word,)
            x = put(x, 1, t, x_now_3)
        return {"c": c, "x": x, "x_len": x_len}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["x_len"]}, by), kinds, rule, samples)
