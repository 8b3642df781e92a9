"""Sums over ways to cut a sequence into labelled stretches of at most L elements: log Z with exact gradients.

    Z = Σ_stretches init[k_1] Π_{s > 1} move[k_{s-1}, k_s] Π_s duration[k_s, d_s] Π_{t in s} seen_t[k_s]

A semi-Markov chain (Sarawagi and Cohen 2004), whose duration and transition factor. All arguments are logarithms, -inf is
impossible. log_seen is (*B, T, K), log_init (K,), log_move (K, K), from × to, log_duration (K, L), its first entry of length 1.
length (*B,) counts the elements of each sequence; the rest is ignored.

The stretches that are open at an element are kept by their ages, (B, K, L), and grow by one addition an element: no prefix sums
are subtracted, so nothing cancels and -inf is harmless. In float64, as posteriors are differences of sums over all elements.
Time T K (K + L), memory T K beside one such window.
"""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative


def segments_log_prob(
    log_init: Tensor, log_move: Tensor, log_duration: Tensor, log_seen: Tensor, length: Tensor | None = None
) -> Tensor:
    """log Z (*B,), -inf where no way is possible. Its gradients are expected counts: of elements under a label for log_seen, of
    first stretches for log_init, of neighbours for log_move, and of stretches by label and length for log_duration."""
    batch, (T, K) = log_seen.shape[:-2], log_seen.shape[-2:]
    full = torch.full(batch, T, device=log_seen.device) if length is None else length.expand(batch)
    flat = log_seen.reshape(batch.numel(), T, K)
    given = (x.double() for x in (log_init, log_move, log_duration, flat))
    return Segments.apply(*given, full.reshape(-1)).view(batch).to(log_seen.dtype)


class Segments(torch.autograd.Function):
    """log Z (B,) of log_seen (B, T, K)."""

    @staticmethod
    def forward(ctx, init, move, duration, seen, length):
        opened, closed = forward_pass(init, move, duration, seen)
        B, T, _ = seen.shape
        if T == 0:
            log_z = seen.new_zeros(B)
        else:
            last = closed[(length - 1).clamp(min=0), torch.arange(B, device=seen.device)]
            log_z = last.logsumexp(1).masked_fill(length == 0, 0)
        ctx.save_for_backward(move, duration, seen, length, opened, closed, log_z)
        return log_z

    @staticmethod
    @first_derivative
    def backward(ctx, g):
        return (*expected_counts(*ctx.saved_tensors, g), None)


def forward_pass(init: Tensor, move: Tensor, duration: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The log weight (T, B, K) of all before a stretch that opens at t, and of all up to the end of one that closes there."""
    (B, T, K), L = seen.shape, duration.shape[1]
    opened, closed = seen.new_empty(T, B, K), seen.new_empty(T, B, K)
    window = seen.new_full((B, K, L), -torch.inf)
    for t in range(T):
        opened[t] = init if t == 0 else torch.logsumexp(closed[t - 1][:, :, None] + move, 1)
        window = torch.cat([opened[t][..., None], window[..., :-1]], 2) + seen[:, t, :, None]
        closed[t] = torch.logsumexp(window + duration, 2)
    return opened, closed


def expected_counts(
    move: Tensor, duration: Tensor, seen: Tensor, length: Tensor, opened: Tensor, closed: Tensor, log_z: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Expected counts of init (K,), move (K, K), duration (K, L) and seen (B, T, K), those of each sequence times its g (B,)."""
    (B, T, K), L = seen.shape, duration.shape[1]
    base = log_z.clamp(min=torch.finfo(seen.dtype).min)  # what is impossible has no posterior, only zeros
    firsts, moves = seen.new_zeros(K), torch.zeros_like(move)
    ends, states = torch.zeros_like(duration), torch.zeros_like(seen)
    window = seen.new_full((B, K, L), -torch.inf)  # stretches that open at t, by length, and all after them
    begun = window[..., 0]
    for t in range(T - 1, -1, -1):
        after = seen.new_full((B, K), -torch.inf)  # of all after a stretch that closes at t
        if t + 1 < T:
            after = torch.logsumexp(move + begun[:, None, :], 2)
            joint = closed[t][:, :, None] + move + (begun - base[:, None])[:, None, :]
            moves += (joint.exp() * g[:, None, None]).sum(0)
        after = torch.where((t + 1 < length)[:, None], after, torch.where((t + 1 == length)[:, None], 0.0, -torch.inf))
        window = torch.cat([after[..., None], window[..., :-1]], 2) + seen[:, t, :, None]
        window = window.where((t < length)[:, None, None], -torch.inf)
        weight = window + duration
        begun = torch.logsumexp(weight, 2)
        mass = ((opened[t] - base[:, None])[..., None] + weight).exp() * g[:, None, None]
        ends += mass.sum(0)
        over = mass.flip(2).cumsum(2).flip(2)[..., : T - t]  # of stretches of at least each length, each over so many elements
        states[:, t : t + L] += over.mT
        if t == 0:
            firsts = mass.sum((0, 2))
    return firsts, moves, ends, states
