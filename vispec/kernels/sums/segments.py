"""Sums over ways to cut a sequence into labelled stretches of at most L elements: log Z with exact gradients by a forward and a
backward pass, and under other algebras.

    Z = Σ_stretches init[k_1] Π_{s > 1} move[k_{s-1}, k_s] Π_s duration[k_s, d_s] whole[i_s, k_s, d_s] Π_i seen[i, k of i]

A semi-Markov chain (Sarawagi and Cohen 2004) of which durations and moves factor: a hidden semi-Markov model (Ferguson 1980).
All arguments are logarithms, -inf is impossible. init is (K,) or (*B, K), move (K, K) or (*B, K, K), from × to, duration (K, L)
or (*B, K, L), its first entry of one element, seen (*B, T, K); length (*B,) counts the elements of each sequence. whole (*B, T,
K, L), by first element, label and length, scores what a stretch is as a whole, such as a word in a lexicon; None is 1. cut: the
last stretch is seen in part, and has any length from that on (Guédon 2003).

The stretches that are open at an element are kept by their ages, (B, K, L), and grow by one addition an element: no prefix sums
are subtracted, so nothing cancels and -inf is harmless. In float64, as posteriors are differences of sums over all elements.
Time T K (K + L), memory T K beside one such window.
"""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.algebra import sampled
from vispec.kernels.sums.chain import unused
from vispec.kernels.sums.logsum import log_sum_exp

WINDOWS = 1 << 15  # numbers of windows that are kept together on the way back


def segments_log_prob(
    init: Tensor,
    move: Tensor,
    duration: Tensor,
    seen: Tensor,
    length: Tensor | None = None,
    cut: bool = False,
    whole: Tensor | None = None,
) -> Tensor:
    """log Z (*B,), -inf where no way is possible. Its gradients are expected counts: of elements under a label for seen, of
    first stretches for init, of neighbours for move, of stretches by label and length for duration, and of each for whole."""
    batch = rows_of_segments(init, move, duration, seen, length, whole)
    tables = [one_or_rows(each, dims, batch) for each, dims in ((init, 1), (move, 2), (duration, 2))]
    rows = seen.expand(*batch, *seen.shape[-2:]).reshape(batch.numel(), *seen.shape[-2:])
    lengths = torch.full(batch, seen.shape[-2], device=seen.device) if length is None else length.expand(batch)
    if whole is not None:
        whole = whole.expand(*batch, *whole.shape[-3:]).reshape(batch.numel(), *whole.shape[-3:])
    given = (*tables, rows) if whole is None else (*tables, rows, whole)
    grad = torch.is_grad_enabled() and any(each.requires_grad for each in given)
    return segments_sums(*tables, rows, whole, lengths.reshape(-1), cut, grad)[0].view(batch)


def rows_of_segments(
    init: Tensor, move: Tensor, duration: Tensor, seen: Tensor, length: Tensor | None, whole: Tensor | None = None
) -> torch.Size:
    """*B: the leading axes of all together."""
    lengths = torch.Size() if length is None else length.shape
    every = (init.shape[:-1], move.shape[:-2], duration.shape[:-2], seen.shape[:-2], lengths)
    return torch.broadcast_shapes(*every, torch.Size() if whole is None else whole.shape[:-3])


def by_last(whole: Tensor, length: Tensor) -> Tensor:
    """Scores of stretches (*B, T, K, L) by first element and length, as those by last element: 0 where there is no such stretch
    of a sequence of so many elements (*B,)."""
    T, L = whole.shape[-3], whole.shape[-1]
    starts = torch.arange(T, device=whole.device)[:, None] - torch.arange(L, device=whole.device)  # (T, L), by last element
    inside = (starts >= 0) & (torch.arange(T, device=whole.device)[:, None] < length[..., None, None])
    shifted = whole.gather(-3, starts.clamp(min=0)[:, None].expand(whole.shape))
    return shifted.masked_fill(~inside.unsqueeze(-2), 0.0)


def one_or_rows(each: Tensor, dims: int, batch: torch.Size) -> Tensor:
    """A table of so many dimensions for every row (B, ...), or one for all (1, ...)."""
    own = each.shape[each.dim() - dims :]
    return each.reshape(1, *own) if each.dim() == dims else each.expand(*batch, *own).reshape(batch.numel(), *own)


def log_survival_of(duration: Tensor) -> Tensor:
    """log of the probability of each length or a greater one, (..., L)."""
    L = duration.shape[-1]
    later = torch.ones(L, L, dtype=torch.bool, device=duration.device).triu()  # from × to
    return torch.logsumexp(duration.unsqueeze(-2).masked_fill(~later, -torch.inf), -1)


def segments_total(
    total,
    init: Tensor,
    move: Tensor,
    duration: Tensor,
    seen: Tensor,
    length: Tensor | None = None,
    cut: bool = False,
    whole: Tensor | None = None,
) -> Tensor:
    """The sum over all ways under an algebra (*B,), which may ask where stretches begin."""
    if hasattr(total, "unranked"):
        total = total.unranked()
    if hasattr(total, "begins"):
        batch = rows_of_segments(init, move, duration, seen, length, whole)
        total.begins.append(seen.new_zeros(*batch, *seen.shape[-2:]).requires_grad_())
        return segments_by(total, init, move, duration, seen, length, cut, whole, total.begins[-1])
    if total is log_sum_exp:
        return segments_log_prob(init, move, duration, seen, length, cut, whole)
    return segments_by(total, init, move, duration, seen, length, cut, whole)


def segments_by(
    total,
    init: Tensor,
    move: Tensor,
    duration: Tensor,
    seen: Tensor,
    length: Tensor | None = None,
    cut: bool = False,
    whole: Tensor | None = None,
    begins: Tensor | None = None,
) -> Tensor:
    """The same, which sums by total alone. begins (*B, T, K): a score besides of a stretch with a label that begins there."""
    dtype, (T, K) = seen.dtype, seen.shape[-2:]
    batch = rows_of_segments(init, move, duration, seen, length, whole)
    lengths = torch.full(batch, T, device=seen.device) if length is None else length.expand(batch)
    closing = None if whole is None else by_last(whole.double().expand(*batch, *whole.shape[-3:]), lengths)
    init, move, duration = init.double(), move.double().transpose(-1, -2), duration.double()
    last = log_survival_of(duration) if cut else duration
    seen = seen.double().expand(*batch, T, K)
    seen = seen.masked_fill(~(torch.arange(T, device=seen.device) < lengths.unsqueeze(-1)).unsqueeze(-1), 0.0)
    closed, log_z = seen.new_empty(*batch, K), torch.zeros(batch, dtype=seen.dtype, device=seen.device)
    window = seen.new_full((*batch, K, min(T, duration.shape[-1])), -torch.inf)
    duration, last = (each[..., : window.shape[-1]] for each in (duration, last))
    for t in range(T):
        opened = init.expand(*batch, K) if t == 0 else total(closed.unsqueeze(-2) + move)
        if begins is not None:
            opened = opened + begins[..., t, :]
        window = torch.cat([opened.unsqueeze(-1), window[..., :-1]], -1) + seen[..., t, :, None]
        ends = (lengths == t + 1)[..., None, None]
        lasting = torch.where(ends, last, duration) if cut else duration
        closed = total(window + (lasting if closing is None else lasting + closing[..., t, :, : window.shape[-1]]))
        log_z = torch.where(ends[..., 0, 0], total(closed), log_z)
    return log_z.to(dtype)


@torch.no_grad()
def segments_sample(
    init: Tensor,
    move: Tensor,
    duration: Tensor,
    seen: Tensor,
    length: Tensor | None = None,
    cut: bool = False,
) -> Tensor:
    """The labels of all elements (*B, T) of stretches drawn from the posterior, int64; 0 where no way is possible."""
    with torch.enable_grad():
        seen = seen.detach().requires_grad_()
        log_z = segments_by(sampled, init.detach(), move.detach(), duration.detach(), seen, length, cut)
        (drawn,) = torch.autograd.grad(log_z.sum(), seen, allow_unused=True, materialize_grads=True)
    return drawn.argmax(-1)


@torch.library.custom_op(unused("segments_sums"), mutates_args=())
def segments_sums(
    init: Tensor,
    move: Tensor,
    duration: Tensor,
    seen: Tensor,
    whole: Tensor | None,
    length: Tensor,
    cut: bool,
    grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """log Z (B,) of init (1 or B, K), move (1 or B, K, K), duration (1 or B, K, L), seen (B, T, K), whole (B, T, K, L) and, if
    grad, each row's expected counts of all these, of the same shapes without 1s."""
    dtype, T = seen.dtype, seen.shape[1]
    inside = torch.arange(T, device=seen.device) < length[:, None]
    init, move, lasting = init.double(), move.double(), duration.double()
    seen = seen.double().masked_fill(~inside[..., None], 0.0)
    fitting = lasting[..., : max(T, 1)]  # lengths that fit
    last = log_survival_of(lasting)[..., : max(T, 1)] if cut else fitting
    if whole is not None:
        whole = whole.double()
    opened, closed = segments_forward(init, move, fitting, last, seen, whole, length)
    log_z = seen.new_zeros(len(seen))
    if T:
        ends = closed[(length - 1).clamp(min=0), torch.arange(len(seen), device=seen.device)]
        log_z = ends.logsumexp(1).masked_fill(length == 0, 0.0)
    if not grad:
        nothing = [seen.new_empty(0, dtype=dtype) for _ in range(5)]
        return log_z.to(dtype, copy=True), nothing[0], nothing[1], nothing[2], nothing[3], nothing[4]
    given = (move, fitting, last, seen, whole, length, opened, closed, log_z)
    firsts, moves, counts, final, states, each = segments_backward(*given)
    counts = torch.nn.functional.pad(counts, (0, duration.shape[-1] - counts.shape[-1]))
    if cut:  # of a stretch that is seen in part, each length that it may have
        share = (lasting.unsqueeze(-2) - last.unsqueeze(-1)).exp().nan_to_num(nan=0.0).triu()  # (1 or B, K, seen, L)
        counts = counts + (final.unsqueeze(-2) @ share).squeeze(-2)
    if whole is not None:
        each = torch.nn.functional.pad(each, (0, whole.shape[-1] - each.shape[-1]))
    counts = (firsts.to(dtype), moves.to(dtype), counts.to(dtype), states.to(dtype), each.to(dtype))
    return log_z.to(dtype, copy=True), *counts


@segments_sums.register_fake
def segments_shapes(
    init: Tensor,
    move: Tensor,
    duration: Tensor,
    seen: Tensor,
    whole: Tensor | None,
    length: Tensor,
    cut: bool,
    grad: bool,
) -> tuple[Tensor, ...]:
    shapes = [(len(seen), *each.shape[1:]) for each in (init, move, duration, seen)] if grad else [(0,)] * 4
    each = seen.new_empty(whole.shape if grad and whole is not None else (0,))
    return (seen.new_empty(len(seen)), *(seen.new_empty(shape) for shape in shapes), each)


def segments_save(ctx, inputs, output) -> None:
    ctx.shared = [len(each) == 1 for each in inputs[:4]] + [False] * (inputs[4] is not None)
    ctx.save_for_backward(*output[1 : 1 + len(ctx.shared)])


def segments_gradient(ctx, g: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    """The expected counts, each row's weighted by its g (B,)."""
    each = zip(ctx.saved_tensors, ctx.shared, strict=True)
    found = [(g @ n.flatten(1)).view(1, *n.shape[1:]) if shared else g.view(-1, *[1] * (n.dim() - 1)) * n for n, shared in each]
    return (*found, *[None] * (8 - len(found)))


segments_sums.register_autograd(first_derivative(segments_gradient), setup_context=segments_save)


def segments_forward(
    init: Tensor,
    move: Tensor,
    duration: Tensor,
    last: Tensor,
    seen: Tensor,
    whole: Tensor | None,
    length: Tensor,
) -> tuple[Tensor, Tensor]:
    """The log weight (T, B, K) of all before a stretch that opens at t, and of all up to the end of one that closes there."""
    (B, T, K), L = seen.shape, duration.shape[-1]
    opened, closed = seen.new_empty(2, T, B, K)
    window = seen.new_full((B, K, L), -torch.inf)
    closing = None if whole is None else by_last(whole, length)[..., :L]
    for t in range(T):
        opened[t] = init if t == 0 else torch.logsumexp(closed[t - 1][:, :, None] + move, 1)
        window = torch.cat([opened[t][..., None], window[..., :-1]], 2) + seen[:, t, :, None]
        lasting = duration if last is duration else torch.where((length == t + 1)[:, None, None], last, duration)
        closed[t] = torch.logsumexp(window + (lasting if closing is None else lasting + closing[:, t]), 2)
    return opened, closed


def segments_backward(
    move: Tensor,
    duration: Tensor,
    last: Tensor,
    seen: Tensor,
    whole: Tensor | None,
    length: Tensor,
    opened: Tensor,
    closed: Tensor,
    log_z: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Expected counts of each row: of first stretches (B, K), neighbours (B, K, K), stretches by label and length (B, K, L),
    the last one apart (B, K, L) where `last` is another table, elements by label (B, T, K), and of each stretch by first
    element, label and length (B, T, K, L) where there is `whole`."""
    (B, T, K), L = seen.shape, duration.shape[-1]
    base = log_z.masked_fill(
        log_z == -torch.inf, torch.finfo(seen.dtype).max
    )  # what is impossible has no posterior, only zeros
    firsts, moves, states = seen.new_zeros(B, K), seen.new_zeros(B, K, K), torch.zeros_like(seen)
    by_length, final = seen.new_zeros(2, B, K, L)
    each = seen.new_empty(0 if whole is None else (B, T, K, L))
    window = seen.new_full((B, K, L), -torch.inf)  # stretches that open at t, by length, and all after them
    lengths, together = torch.arange(1, L + 1, device=seen.device), max(1, WINDOWS // max(window.numel(), 1))
    begun = window[..., 0]
    if whole is not None:
        inside = torch.arange(T, device=seen.device)[:, None] + lengths <= length[:, None, None]  # (B, T, L)
        whole = whole[..., :L].masked_fill(~inside.unsqueeze(2), 0.0)
    for stop in range(T, 0, -together):
        start = max(0, stop - together)
        kept, begins = seen.new_empty(stop - start, B, K, L), seen.new_empty(stop - start, B, K)
        ends = (length[:, None] - torch.arange(start, stop, device=seen.device)[:, None, None] == lengths)[:, :, None]
        for t in range(stop - 1, start - 1, -1):
            after = torch.logsumexp(move + begun[:, None, :], 2)  # of all after a stretch that closes at t, none past the end
            after = after.masked_fill((length == t + 1)[:, None], 0.0)
            window = torch.cat([after[..., None], window[..., :-1]], 2) + seen[:, t, :, None]
            lasting = duration if last is duration else torch.where(ends[t - start], last, duration)
            if whole is not None:
                lasting = lasting + whole[:, t]
            weight = torch.add(window, lasting, out=kept[t - start])
            begun = torch.logsumexp(weight, 2, out=begins[t - start])
        mass = kept.add_((opened[start:stop] - base[:, None])[..., None]).exp_()
        if start == 0:
            firsts = mass[0].sum(2)
        if last is not duration:
            final += torch.where(ends, mass, 0.0).sum(0)
        if whole is not None:
            each[:, start:stop] = mass.transpose(0, 1)
        by_length += mass.sum(0) if last is duration else mass.masked_fill(ends, 0.0).sum(0)
        first = max(start, 1)
        pairs = closed[first - 1 : stop - 1][..., None] + move + (begins[first - start :] - base[:, None])[:, :, None, :]
        moves += pairs.exp_().sum(0)
        over = mass.flip(3).cumsum(3).flip(3)  # (t, B, K, L): each stretch over so many elements at least
        for d in range(L if stop - start > L else 0):
            states[:, start + d : stop + d] += over[: max(T - start - d, 0), ..., d].transpose(0, 1)
        for t in range(start, stop if stop - start <= L else start):
            states[:, t : t + L] += over[t - start, ..., : T - t].mT
    return firsts, moves, by_length, final, states, each
