"""Sums over the states of a first-order chain: log Z with exact gradients, the mode, samples.

    Z = Σ_{z_1..z_T} init[z_1] Π_t trans_t[z_{t-1}, z_t] Π_t obs_t[z_t]

All arguments are logarithms, -inf is impossible. log_obs is (*B, T, K). log_init is (K,) or (*B, K). log_trans, from × to, is
(K, K), (T-1, K, K), (*B, 1, K, K) or (*B, T-1, K, K). length (*B,) counts the elements of each chain; the rest is ignored.

Fast and exact: the forward and the backward recursion run side by side, one small matrix product a step, on probabilities
that are rescaled now and then. What a float loses there is below its smallest normal number, which is harmless as long as each
sum that it could have entered is many times larger. Chains with a smaller sum are done again in float64, then in log space.
"""

import torch
from torch import Tensor

RESCALE = 4  # steps between two divisions by the largest weight


def chain_log_prob(log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None = None) -> Tensor:
    """log Z (*B,), -inf where no path is possible. Its gradients are posterior probabilities: p(z_t | x) for log_obs,
    p(z_1 | x) for log_init, p(z_{t-1}, z_t | x) for log_trans, summed over what log_trans is shared by."""
    chain = canonical(log_init, log_trans, log_obs, length)
    grad = torch.is_grad_enabled() and any(x.requires_grad for x in chain)
    return chain_sums(*chain, grad)[0].view(log_obs.shape[:-2])


def chain_mode(log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None = None) -> Tensor:
    """The most probable path (*B, T), int64; of several the first in lexicographic order; 0 past a chain's length."""
    return follow(canonical(log_init, log_trans, log_obs, length), torch.amax, lambda score: score).view(log_obs.shape[:-1])


def chain_sample(log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None = None) -> Tensor:
    """A path drawn from the posterior (*B, T), int64; 0 past a chain's length."""

    def gumbel(score: Tensor) -> Tensor:
        return score - torch.empty_like(score).exponential_().log()

    return follow(canonical(log_init, log_trans, log_obs, length), torch.logsumexp, gumbel).view(log_obs.shape[:-1])


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


@torch.no_grad()
def follow(chain: tuple[Tensor, Tensor, Tensor, Tensor], reduce, perturb) -> Tensor:
    """A path (B, T): each state in turn is the largest perturbed log weight given the state before."""
    init, trans, obs, length = chain
    (B, T, K), n, rows = obs.shape, trans.shape[1], torch.arange(len(obs), device=obs.device)
    rest = remainders(trans, obs, length, reduce)
    path = [perturb(init + obs[:, 0] + rest[0]).argmax(1)]
    for t in range(1, T):
        step = trans[:, (t - 1) % n].expand(B, K, K)[rows, path[-1]]
        path.append(perturb(step + obs[:, t] + rest[t]).argmax(1))
    return torch.stack(path, 1).where(torch.arange(T, device=obs.device) < length[:, None], 0)
