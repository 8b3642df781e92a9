"""Sums over the states of a first-order chain: log Z with exact gradients.

    Z = Σ_{z_1..z_T} init[z_1] Π_t trans_t[z_{t-1}, z_t] Π_t obs_t[z_t]

All arguments are logarithms, -inf is impossible. log_obs is (*B, T, K). log_init is (K,) or (*B, K). log_trans, from × to, is
(K, K), (T-1, K, K), (*B, 1, K, K) or (*B, T-1, K, K). length (*B,) counts the elements of each chain; the rest is ignored.

Fast and exact: the forward and the backward recursion run side by side, one small matrix product a step, on probabilities
that are rescaled now and then, to far above 1, so that a float's whole range lies below. What it loses there is below its
smallest normal number, or, where a weight itself does, below so much of what it was to weigh; which is harmless as long as each
sum that it could have entered is many times larger. Chains with a smaller sum are done again in float64, then in log space.
"""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.logsum import weights
from vispec.kernels.sums.lookup import columns
from vispec.kernels.sums.sweep import RESCALE, SPARE, Room, imprecise


def chain_log_prob(log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None = None) -> Tensor:
    """log Z (*B,), -inf where no path is possible. Its gradients are posterior probabilities: p(z_t | x) for log_obs,
    p(z_1 | x) for log_init, p(z_{t-1}, z_t | x) for log_trans, summed over what log_trans is shared by."""
    chain = canonical(log_init, log_trans, log_obs, length)
    grad = torch.is_grad_enabled() and any(x.requires_grad for x in chain)
    log_z = chain_op(*chain, grad)[0] if torch.compiler.is_compiling() else SUMS[-1](*chain, grad, None)
    return log_z.view(batch_of(log_init, log_trans, log_obs, length))


def batch_of(log_init: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None) -> torch.Size:
    """*B: the leading axes of all arguments together."""
    shapes = [log_obs.shape[:-2], log_init.shape[:-1], log_trans.shape[:-3], *([] if length is None else [length.shape])]
    axes, *more = [shape for shape in shapes if len(shape)] or [torch.Size()]
    return axes if all(shape == axes for shape in more) else torch.broadcast_shapes(axes, *more)  # which is slow


def chain_log_prob_of_tokens(
    log_init: Tensor, log_trans: Tensor, log_table: Tensor, tokens: Tensor, length: Tensor | None = None
) -> Tensor:
    """chain_log_prob where log_obs is the columns of log_table (K, V) at tokens (*B, T): exponentiated once for each value."""
    few = tokens.numel() < log_table.shape[1]
    if few or torch.compiler.is_compiling():
        return chain_log_prob(log_init, log_trans, columns(log_table, tokens), length)
    (K, _), T = log_table.shape, tokens.shape[-1]
    stand_in = log_table.new_empty(1).expand(*tokens.shape, K)
    batch = batch_of(log_init, log_trans, stand_in, length)
    init, trans, _, full = canonical(log_init, log_trans, stand_in, length)
    table = log_table.T
    grad = torch.is_grad_enabled() and any(x.requires_grad for x in (init, trans, table))
    return SUMS[-1](init, trans, table, full, grad, tokens.expand(*batch, T).reshape(-1, T)).view(batch)


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
        found = sums(init, trans, obs if tokens is None else obs.contiguous(), length, grad, tokens)
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


SUMS = [ChainSums.apply]  # the last one is asked


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
    ends = total.double().log() - before[0, 0, :, 0].double().log()  # that is, over lift
    log_z = clear(top).sum((0, 2), dtype=torch.double) + shift + steps + ends
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
        doubt = imprecise(before, step, room.factor[:T], after[:, 0], past, lift, possible)
        SPARE.append(room)
        return log_z, obs.new_empty(0), obs.new_empty(0), doubt  # no posteriors

    last = turn(after[:, 1])  # (T, B, K) the weight of element t and of all that follows, for each state
    state = before[:, 0] * last
    norm = state.sum(2, keepdim=True)
    doubt = imprecise(before, step, room.factor[:T], norm, past, lift, possible)
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
    """As scaled_sums, in log space: exact for any potentials, several times slower. The largest number of each element is 0, as
    those that grow with the chain would lose digits."""
    (B, T, K), n = obs.shape, trans.shape[1]
    start, log_z = levelled(init + obs[:, 0])
    forward = [start]
    for t in range(1, T):
        new, top = levelled(torch.logsumexp(forward[-1][:, :, None] + trans[:, (t - 1) % n], 1) + obs[:, t])
        forward.append(torch.where((t < length)[:, None], new, forward[-1]))
        log_z = log_z + torch.where(t < length, top, 0)
    log_z = (log_z + torch.logsumexp(forward[-1], 1)).masked_fill(length == 0, 0)
    sure = torch.zeros_like(length, dtype=torch.bool)
    if not grad:
        return log_z, obs.new_empty(0), obs.new_empty(0), sure
    rest = remainders(trans, obs, length)
    inside = torch.arange(T, device=obs.device)[:, None] < length
    state = torch.stack([proportions(a + b) for a, b in zip(forward, rest, strict=True)]).where(inside[..., None], 0)
    pair = torch.zeros(B, n, K, K, dtype=obs.dtype, device=obs.device)
    for t in range(1, T):
        joint = forward[t - 1][:, :, None] + trans[:, (t - 1) % n] + (obs[:, t] + rest[t])[:, None]
        pair[:, (t - 1) % n] += proportions(joint).where(inside[t, :, None, None], 0)
    return log_z, state, pair, sure


def levelled(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (B, K) less its largest, and that (B,); 0 where nothing is possible."""
    top = x.amax(1)
    top = top.masked_fill(top == -torch.inf, 0)
    return x - top[:, None], top


def proportions(joint: Tensor) -> Tensor:
    """exp of what is proportional to it, normalised (B, ...); of an impossible chain, zeros."""
    flat = joint.flatten(1)
    whole = flat.logsumexp(1, keepdim=True).clamp(min=torch.finfo(joint.dtype).min)
    return (flat - whole).exp().view(joint.shape)


def remainders(trans: Tensor, obs: Tensor, length: Tensor) -> list[Tensor]:
    """For each t (B, K): the log weight of all that follows state k at t, but for a term that is the same for all k."""
    (B, T, K), n = obs.shape, trans.shape[1]
    rest = [obs.new_zeros(B, K)]
    for t in range(T - 1, 0, -1):
        new = levelled(torch.logsumexp(trans[:, (t - 1) % n] + (obs[:, t] + rest[-1])[:, None], 2))[0]
        rest.append(torch.where((t < length)[:, None], new, 0))
    return rest[::-1]
