"""HmmAlignment: emitted by vispec from hmm_alignment.vispec; imports torch and nothing else.

    log_prob: exact

    chain_a = log Σ_{paths of a} exp(log_a + log_x), forward recursion
    log p = chain_a

    y  data; given by the data
    a  chain, summed; discrete; a first-order chain along i: one forward pass
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn


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
    return total(alpha)


RESCALE = 4  # steps between two divisions by the largest weight


def chain_log_prob(log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None = None) -> Tensor:
    """log Z (*B,), -inf where no path is possible. Its gradients are posterior probabilities: p(z_t | x) for log_obs,
    p(z_1 | x) for log_init, p(z_{t-1}, z_t | x) for log_trans, summed over what log_trans is shared by."""
    chain = canonical(log_init, log_trans, log_obs, length)
    grad = torch.is_grad_enabled() and any(x.requires_grad for x in chain)
    return chain_sums(*chain, grad)[0].view(log_obs.shape[:-2])


def canonical(
    log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """init (B, K), trans (1 or B, 1 or T-1, K, K), obs (B, T, K) and length (B,)."""
    batch, (T, K) = log_obs.shape[:-2], log_obs.shape[-2:]
    B, n = batch.numel(), log_trans.shape[-3] if log_trans.dim() > 2 else 1
    own = log_trans.expand(*batch, n, K, K).reshape(B, n, K, K) if log_trans.dim() > 3 else log_trans.view(1, n, K, K)
    full = torch.full(batch, T, device=log_obs.device) if length is None else length.expand(batch)
    return log_init.expand(*batch, K).reshape(B, K), own, log_obs.reshape(B, T, K), full.reshape(B)


@torch.library.custom_op("vispec::chain_sums", mutates_args=())
def chain_sums(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    """log Z (B,) and, if grad, p(z_t | x) (T, B, K) and p(z_{t-1}, z_t | x) (B, T-1, K, K), or its sum over t (B, 1, K, K)
    where trans is the same for all t."""
    log_z, state, pair, doubt = scaled_sums(init, trans, obs, length, grad)
    for again in (scaled_sums, log_sums):
        if not doubt.any():
            break
        rows = doubt.nonzero()[:, 0]
        some = (init[rows], trans if len(trans) == 1 else trans[rows], obs[rows])
        redone = again(*(x.double() for x in some), length[rows], grad)
        log_z[rows], doubt[rows] = redone[0].to(log_z.dtype), redone[3]
        if grad:
            state[:, rows], pair[rows] = redone[1].to(state.dtype), redone[2].to(pair.dtype)
    return log_z, state, pair


@chain_sums.register_fake
def chain_shapes(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    (B, T, K), n = obs.shape, trans.shape[1]
    return obs.new_empty(B), obs.new_empty((T, B, K) if grad else 0), obs.new_empty((B, n, K, K) if grad else 0)


def chain_save(ctx, inputs, output) -> None:
    ctx.shared = len(inputs[1]) == 1
    ctx.save_for_backward(*output[1:])


def chain_gradient(ctx, g: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    """The posterior probabilities, each chain's weighted by its g (B,)."""
    state, pair = ctx.saved_tensors
    state = g[:, None] * state
    pair = (g @ pair.flatten(1)).view(1, *pair.shape[1:]) if ctx.shared else g[:, None, None, None] * pair
    return state[0], pair, state.transpose(0, 1), None, None


chain_sums.register_autograd(chain_gradient, setup_context=chain_save)


def scaled_sums(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As chain_sums, by products of rescaled probabilities; and where that was not precise enough, bool (B,)."""
    (B, T, K), n, real = obs.shape, trans.shape[1], torch.finfo(obs.dtype)
    ragged, rows = bool((length < T).any()), torch.arange(B, device=obs.device)
    time = torch.arange(T, device=obs.device)[:, None]
    past, mirror = time >= length, (length - 1 - time).clamp_(min=0)  # (T, B); where element t is, counted from the end

    def clear(x: Tensor) -> Tensor:
        return x.masked_fill_(past[..., None], 0) if ragged else x

    def turn(x: Tensor) -> Tensor:  # (T, B, K), each chain read from its end
        return x.flatten(0, 1).index_select(0, (mirror * B + rows).view(-1)).view_as(x) if ragged else x.flip(0)

    def both(factor: Tensor, forth: Tensor) -> Tensor:  # the second direction beside the first
        if not grad:
            return forth
        factor[1] = turn(factor[0])
        back = forth.expand(n, B, K, K)[mirror[1:], rows] if n > 1 and ragged else forth.flip(0)
        return torch.cat([forth.expand_as(back), back.mT], 1)

    # Weights of at most 1: each column of trans by its largest entry, which moves into obs, and each row of obs.
    into = trans.amax(2).clamp_(min=real.min)  # (1 or B, n, K)
    factor = obs.new_empty(2 if grad else 1, T, B, K)
    torch.add(obs[:, 0], init, out=factor[0, 0])
    torch.add(obs.transpose(0, 1)[1:], into.transpose(0, 1), out=factor[0, 1:])
    top = clear(factor[0]).amax(2, keepdim=True).clamp_(min=real.min)
    weights(factor[0].sub_(top))
    forth = weights(trans - into[:, :, None]).transpose(0, 1)
    step = both(factor, forth)  # (n, D or D B, K, K); D = 2 directions, or 1 without gradient
    after, scale = sweep(factor, step)

    total = after[(length - 1).clamp(min=0), 0, rows].sum(1)
    shift = scale[:, 0].log().masked_fill_(past[RESCALE::RESCALE], 0)
    log_z = top.sum((0, 2), dtype=torch.double) + shift.sum(0, dtype=torch.double) + total.log()
    log_z = log_z.to(obs.dtype).masked_fill_(length == 0, 0)

    def possible() -> tuple[Tensor, Tensor]:
        some = torch.empty_like(factor)
        some[0] = (obs > -torch.inf).transpose(0, 1)
        some[0, 0] *= init > -torch.inf
        return some, both(some, (trans > -torch.inf).to(obs.dtype).transpose(0, 1))

    if not grad:
        return log_z, obs.new_empty(0), obs.new_empty(0), imprecise(after, step, after[:, 0], past, possible)

    last = turn(after[:, 1])  # (T, B, K) the weight of element t and of all that follows, for each state
    state = last / factor[0].clamp_(min=real.tiny)
    norm = state.mul_(after[:, 0]).sum(2, keepdim=True)
    doubt = imprecise(after, step, norm, past, possible)
    clear(state.div_(norm))
    norm[RESCALE::RESCALE, :, 0] *= scale[:, 0]  # last was to follow what after[t] was before its division
    first, last = clear(after[:, 0])[:-1], clear(last.div_(norm))[1:]
    if n == 1:
        pair = (first.permute(1, 2, 0) @ last.transpose(0, 1) * forth[0])[:, None]
    else:
        pair = (first[..., None] * forth * last[:, :, None]).transpose(0, 1).contiguous()
    return log_z, state, pair, doubt


def weights(score: Tensor) -> Tensor:
    """exp in place, but 0 instead of numbers below the normal ones, with which CPUs are a hundred times slower."""
    tiny = torch.finfo(score.dtype).tiny
    return torch.threshold_(score.clamp_(min=float(torch.tensor(tiny, dtype=torch.float64).log()) + 0.5).exp_(), 2 * tiny, 0)


def sweep(factor: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """after[0] = factor[0], after[t] = after[t-1] @ step[t-1] * factor[t], divided by its largest entry if RESCALE divides t.

    factor (D, T, B, K); step (T-1, D, K, K) or (T-1, D B, K, K), or with 1 for T-1. Returns after (T, D, B, K) and those
    largest entries (⌊(T-1)/RESCALE⌋, D, B)."""
    (D, T, B, K), G, tiny = factor.shape, step.shape[1], torch.finfo(factor.dtype).tiny
    after, peaks = factor.new_empty(T, D, B, K), []
    after[0] = factor[:, 0]
    new, by = after.unbind(0), step.unbind(0) if len(step) == T - 1 else step.unbind(0) * (T - 1)
    product = new if G == D else after.view(T, G, -1, K).unbind(0)
    for t, times in enumerate(factor.unbind(1)[1:], 1):
        torch.bmm(product[t - 1], by[t - 1], out=product[t])
        new[t].mul_(times)
        if t % RESCALE == 0:
            peaks.append(new[t].amax(2, keepdim=True).clamp_(min=tiny))
            new[t].div_(peaks[-1])
    return after, torch.cat([x.view(1, D, B) for x in peaks]) if peaks else factor.new_empty(0, D, B)


def imprecise(after: Tensor, step: Tensor, norm: Tensor, past: Tensor, possible) -> Tensor:
    """The chains in which a sum is so small that what underflowed may matter to it, bool (B,).

    possible: factor and step of the sweep with 1 for all that is not impossible, asked for only if needed."""
    (T, D, B, K), (n, G), real = after.shape, step.shape[:2], torch.finfo(after.dtype)
    floor = 16 * real.tiny / real.eps
    if after.numel() == 0 or torch.minimum(after.min(), norm.min()) >= floor:
        return torch.zeros_like(past[0])
    doubt = ~((norm.sum(2) >= floor) | past).all(0)
    if T == 1:
        return doubt
    sums = torch.einsum("tgrk,tgkl->tgrl", after[:-1].reshape(T - 1, G, -1, K), step).view(T - 1, D, B, K)
    nowhere = (step == 0).all(2).view(n, D, -1, K)  # states that no other leads to: their sum is 0, exactly
    small = ~(sums >= floor) & ~nowhere & ~past[1:, None, :, None]
    if small.any():  # the same for states that no path of this chain reaches
        factor, links = possible()
        gates = factor.transpose(0, 1).reshape(T, G, -1, K)
        now, paths = gates[0], []
        for t in range(1, T):
            paths.append(torch.bmm(now, links[(t - 1) % n]))
            now = (paths[-1] * gates[t]).sign_()
        doubt |= (small & (torch.stack(paths).view_as(small) > 0)).any(3).any(0).any(0)
    return doubt


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
    rest = remainders(trans, obs, length, torch.logsumexp)
    base = log_z.clamp(min=torch.finfo(obs.dtype).min)[:, None]  # an impossible chain has no posterior, only zeros
    inside = torch.arange(T, device=obs.device)[:, None] < length
    state = torch.stack([(a + b - base).exp() for a, b in zip(forward, rest, strict=True)]).where(inside[..., None], 0)
    pair = torch.zeros(B, n, K, K, dtype=obs.dtype, device=obs.device)
    for t in range(1, T):
        joint = forward[t - 1][:, :, None] + trans[:, (t - 1) % n] + (obs[:, t] + rest[t] - base)[:, None]
        pair[:, (t - 1) % n] += joint.exp().where(inside[t, :, None, None], 0)
    return log_z, state, pair, sure


def remainders(trans: Tensor, obs: Tensor, length: Tensor, reduce) -> list[Tensor]:
    """For each t (B, K): reduce, over the states after t, the log weight of all that follows state k at t."""
    (B, T, K), n = obs.shape, trans.shape[1]
    rest = [obs.new_zeros(B, K)]
    for t in range(T - 1, 0, -1):
        new = reduce(trans[:, (t - 1) % n] + (obs[:, t] + rest[-1])[:, None], 2)
        rest.append(torch.where((t < length)[:, None], new, 0))
    return rest[::-1]


def decide(law: torch.distributions.Distribution, rule: str, read: bool) -> Tensor:
    """One value (*B, *event) of a law: rule "sample", "mode" (its most probable value) or "mean".

    The mean of a categorical law is its probabilities (*B, K); where the value is read again (`read`), its mode stands in.
    """
    if rule == "sample":
        return law.sample()
    finite = isinstance(law, torch.distributions.Categorical)
    if rule == "mean" and not (finite and read):
        return law.probs if finite else law.mean
    return law.mode


def distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct values (U,) and the row of each element among them, of tokens' shape.

    Their number is in the data, which a single traced graph cannot know: while compiling, every element is a row of its own.
    """
    if torch.compiler.is_compiling():
        return tokens.flatten(), torch.arange(tokens.numel(), device=tokens.device).view(tokens.shape)
    values, row = torch.unique(tokens, return_inverse=True)
    return values, row


def seeded(log_joint, seed: int, index):
    """log_joint(index) with the same draws in every pass."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return log_joint(index)


class LogSumExp(torch.autograd.Function):
    """log Σ exp(x) over the last dimension; the forward pass keeps the responsibilities, which are the gradient.

    Weights below 1e-34 of the largest count as zero: they cannot change the sum, and torch's exp is slow there.
    """

    @staticmethod
    def forward(ctx, x):
        top = x.amax(-1, keepdim=True)
        top.clamp_(min=torch.finfo(top.dtype).min)  # where all are -inf, so is their difference from it
        r = torch.threshold_((x - top).clamp_(min=-80.0).exp_(), 2e-35, 0.0)
        mass = r.sum(-1, keepdim=True)  # at least 1, or 0 where everything is impossible
        ctx.save_for_backward(r.div_(mass.clamp(min=1.0)))
        return mass.log_().add_(top).squeeze(-1)

    @staticmethod
    def backward(ctx, grad):
        (r,) = ctx.saved_tensors
        return r * grad.unsqueeze(-1)


def log_sum_exp(x: Tensor) -> Tensor:
    """log Σ exp(x) over the last dimension (*B, K) → (*B); -inf, with gradient 0, where every term is."""
    return LogSumExp.apply(x)


def ask(
    tilted, batch: dict[str, Tensor], query: str, tilt: dict[str, Tensor], inside: dict[str, Tensor], one_draw: bool = True
) -> dict[str, Tensor]:
    """The answer for each latent. marginals: (B, *plates, K); mode, sample: (B, *plates); entropy: that of each marginal
    (B, *plates) and, as "(joint)", that of all latents together (B,); kbest(k): (B, k, *plates) from the best on, and their
    log-joints (B, k) as "(log_joint)". inside: which elements of a latent's ragged plates count, where it has any. Over several
    draws of other latents there is no one entropy of all together."""
    if query.startswith("kbest("):
        return k_best(tilted, batch, tilt, inside, int(query[6:-1]))
    joint = next(iter(tilt.values())).new_zeros(len(next(iter(tilt.values()))))
    entropic = Entropic(joint) if one_draw else log_sum_exp
    algebras = {"marginals": log_sum_exp, "mode": maximum, "sample": sampled, "entropy": entropic}
    found, of_all = answer(tilted, batch, algebras[query], tilt, joint)[1:]
    if query == "marginals":
        return found
    if query == "entropy":
        each = {name: torch.special.entr(p.clamp(min=0)).sum(-1) for name, p in found.items()}
        return each | {"(joint)": of_all} if one_draw else each
    return {name: p.argmax(-1) for name, p in found.items()}


def answer(tilted, batch: dict[str, Tensor], total, tilt: dict[str, Tensor], *more: Tensor) -> tuple:
    """log p (B,) under the algebra, its gradient for each latent's tilt, and for `more`."""
    inputs = [value.requires_grad_() for value in (*tilt.values(), *more)]
    with torch.enable_grad():
        log_prob = tilted(batch, total, tilt)
        found = torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True, materialize_grads=True)
    return (log_prob.detach(), dict(zip(tilt, found, strict=False)), *found[len(tilt) :])


class Entropic:
    """log Σ exp, through which a gradient for `joint` (B,) gathers the entropy of all that is summed, by the chain rule."""

    def __init__(self, joint: Tensor):
        self.joint = joint

    def __call__(self, x: Tensor) -> Tensor:
        log_z = log_sum_exp(x)
        p = (x - log_z.masked_fill(log_z == -torch.inf, 0.0).unsqueeze(-1)).exp()
        return self.attach(log_z, torch.special.entr(p.detach()).sum(-1))

    def attach(self, log_z: Tensor, entropy: Tensor) -> Tensor:
        """log_z (B, ...) of a sum whose terms have that entropy given what is summed later."""
        return Attached.apply(log_z, entropy, self.joint)


class Attached(torch.autograd.Function):
    """The first argument; its gradient times the second, summed for each row, is the gradient of the third."""

    @staticmethod
    def forward(ctx, log_z, entropy, joint):
        ctx.save_for_backward(entropy)
        return log_z.clone()

    @staticmethod
    def backward(ctx, grad):
        (entropy,) = ctx.saved_tensors
        return grad, None, (grad * entropy).flatten(1).sum(1) if grad.dim() > 1 else grad * entropy


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
        if g is None:
            logits = torch.addmm(bias, h, weight.T)
            g = softmax_in_place(logits, least_logit(logits))
        grad = grad.flatten()
        mass = grad.new_zeros(len(h)).index_add_(0, row.flatten(), grad)
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


class Lex(nn.Module):
    """(y: token[FR]) → simplex[EN]: embed(128) |> mlp([256])."""

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.embed = nn.Embedding(FR, 128)
        self.mlp = nn.Sequential(nn.Linear(128, 256), nn.ReLU())
        self.out = nn.Linear(256, EN)

    def features(self, y: Tensor) -> Tensor:
        """y (*B) → (*B, 256)."""
        return self.mlp(self.embed(y))

    def forward(self, y: Tensor) -> Tensor:
        """(*B, EN) unnormalised log-probabilities."""
        return self.out(self.features(y))


class HmmAlignment(nn.Module):
    """Batch: y (pair, j) token[FR]; x (pair, i) token[EN]; y_len (pair); x_len (pair)."""

    exact = True
    estimator = "exact"

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.jump = nn.Parameter(torch.zeros(101))  # (101)
        self.lex = Lex(EN, FR)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's

    def factors(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """log_a_first (pair, a); log_each (pair, a', a); log_x (pair, i, a)."""
        y = batch["y"]  # (pair, j)
        at_a = torch.arange(y.shape[1], device=self.one.device)  # (a,)
        y_len = batch["y_len"]  # (pair,)
        log_y_len = (self.one * y_len).log()  # (pair,)
        inside_a = at_a < y_len[:, None]  # (pair, a)
        log_a_first = torch.where(inside_a, -log_y_len[:, None], -torch.inf)  # (pair, a)
        value = at_a[:, None] - at_a  # (j, a')
        jump_index = (value - -50).clamp(0, 100)  # (j, a')
        jump_at = self.jump[jump_index]  # (j, a')
        jump_at_by_j = jump_at.movedim(0, 1)  # (a', j)
        each = jump_at_by_j.masked_fill(~inside_a[:, None], -torch.inf)  # (pair, a', j)
        log_each = each.log_softmax(-1)  # (pair, a', j)
        x = batch["x"]  # (pair, i)
        y_words, y_row = distinct(y)  # (pair, a)
        cells = torch.broadcast_shapes(y_row[:, None].shape, x[:, :, None].shape)
        y_row_2 = y_row[:, None].expand(cells)  # (pair, i, a)
        x_2 = x[:, :, None].expand(cells)  # (pair, i, a)
        lex_features = self.lex.features(y_words)  # (distinct, H)
        log_x = SelectedLogSoftmax.apply(lex_features, self.lex.out.weight, self.lex.out.bias, y_row_2, x_2)  # (pair, i, a)
        return log_a_first, log_each, log_x

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (pair,), exact, in nats."""
        log_a_first, log_each, log_x = self.factors(batch)
        x_len = batch["x_len"]  # (pair,)
        log_step = log_each.unsqueeze(1)  # (pair, i, a', a)
        return chain_log_prob(log_a_first, log_step, log_x, x_len)  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        log_a_first, log_each, log_x = self.factors(batch)
        tilt_a = tilt["a"]  # (pair, i, a)
        log_seen_of_a = log_x + tilt_a  # (pair, i, a)
        x_len = batch["x_len"]  # (pair,)
        log_step = log_each.unsqueeze(1)  # (pair, i, a', a)
        log_chain_a = chain_total(total, log_a_first, log_step, log_seen_of_a, x_len)  # (pair,)
        return log_chain_a

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        a: index[j], (pair, i).
        """
        y = batch["y"]  # (pair, j)
        x = batch["x"]  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (pair, i)
        zeros = {"a": self.one.new_zeros(y.shape[0], x.shape[1], y.shape[1])}
        found = ask(self.tilted, batch, query, zeros, {"a": inside_i})
        return found

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        y = batch["y"]  # (pair, j)
        x_len = lengths["i"]  # (pair,)
        i_size = int(x_len.max())
        a = self.one.new_zeros(n, i_size, dtype=torch.long)  # (pair, i)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (pair, i)
        for i in range(i_size):
            if i == 0:
                y_len = batch["y_len"]  # (pair,)
                a_now = (torch.rand(n, device=self.one.device) * y_len).long()  # (pair,)
                a[:, i] = a_now
            else:
                at_j = torch.arange(y.shape[1], device=self.one.device)  # (j,)
                value = at_j - a[:, i - 1][:, None]  # (pair, j)
                jump_index = (value - -50).clamp(0, 100)  # (pair, j)
                jump_at = self.jump[jump_index]  # (pair, j)
                y_len_2 = batch["y_len"]  # (pair,)
                inside_j = at_j < y_len_2[:, None]  # (pair, j)
                each = jump_at.masked_fill(~inside_j, -torch.inf)  # (pair, j)
                a_now_2 = decide(torch.distributions.Categorical(logits=each).expand((n,)), "sample", True)  # (pair,)
                a[:, i] = a_now_2
            at_pair = torch.arange(n, device=self.one.device)  # (pair,)
            y_at = y[at_pair, a[:, i]]  # (pair,)
            y_at_words, y_at_row = distinct(y_at)  # (pair,)
            lex = self.lex(y_at_words)  # (distinct, EN)
            lex_2 = lex[y_at_row]  # (pair, EN)
            x_now = decide(torch.distributions.Categorical(logits=lex_2).expand((n,)), rule, False)  # (pair,)
            x[:, i] = x_now
        y_len = batch["y_len"]  # (pair,)
        return {"y": y, "a": a, "x": x, "y_len": y_len, "x_len": x_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean") -> dict[str, Tensor]:
        """Each observed variable, from what is given; latents are drawn. rule: "mean", "mode" or "sample".

        The mean of a categorical variable is its probabilities; one that is read again is at its mode.
        """
        found = self.generate(len(batch["y"]), batch, {"i": batch["x_len"]}, rule)
        return {name: found[name] for name in ("x",)}
