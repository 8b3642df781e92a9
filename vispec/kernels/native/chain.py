"""Chains of discrete states in C++: both sweeps and all gradients in one pass, over four chains at a time."""

import ctypes

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.native.library import library
from vispec.kernels.native.text import cpp
from vispec.kernels.sums.chain import SUMS

CHAIN_CPP = cpp("chain")
MOST_STATES = 128  # of more, torch's products of large matrices are as fast
FEWEST = 2**19  # products that are worth a thread


def native_sums(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool, tokens: Tensor | None) -> Tensor:
    """log Z (B,) as ChainSums has it, which does what is not for this code, and chains that it is not precise enough for."""
    suited = init.device.type == "cpu" and obs.dtype in (torch.float32, torch.float64) and obs.shape[-1] <= MOST_STATES
    code = library(CHAIN_CPP) if suited and init.numel() and 0 not in obs.shape else None
    if code is None:
        return SUMS[0](init, trans, obs, length, grad, tokens)
    log_z, doubt = NativeChains.apply(code, init, trans, obs, length, grad, tokens)
    if not doubt.any():
        return log_z
    rows = doubt.nonzero()[:, 0]
    seen = obs[rows] if tokens is None else obs
    some = (init[rows], trans if len(trans) == 1 else trans[rows], seen, length[rows], grad)
    return log_z.index_put((rows,), SUMS[0](*some, None if tokens is None else tokens[rows]))


SUMS.append(native_sums)


class NativeChains(torch.autograd.Function):
    """log Z (B,) and doubt (B,). With it come the gradients of its sum; where chains count differently they are made anew."""

    @staticmethod
    def forward(ctx, code, init, trans, obs, length, grad, tokens):
        T, least = obs.shape[1] if tokens is None else tokens.shape[1], torch.finfo(obs.dtype).min
        first = init[:1] if init.stride(0) == 0 else init  # one for all
        level = trans.logsumexp(3).amax(2).clamp_(min=least)  # (1 or B, steps), 0 for laws of the next state
        start, peak = (x.amax(-1).clamp_(min=least) for x in (first, obs))  # of each row
        shift = peak if tokens is None else peak.index_select(0, tokens.reshape(-1)).view(tokens.shape)
        parts = (first - start[:, None], trans - level[..., None, None], obs - peak[..., None])
        weights, inside = [marked(x).contiguous() for x in parts], length.clamp(0, T)
        log_z, doubt, grads = swept(code, weights, inside, tokens, None, grad)
        past = None if length.amin() >= T else torch.arange(T) >= length[:, None]
        log_z += (shift if past is None else shift.masked_fill(past, 0)).sum(1, dtype=torch.double) + start
        steps = level.double()
        if trans.shape[1] == 1:
            log_z += steps[:, 0] * (length - 1).clamp(min=0)
        else:
            log_z += (steps if past is None else steps.masked_fill(past[:, 1:], 0)).sum(1)
        ctx.code, ctx.given, ctx.grads, ctx.rows = code, (weights, inside, tokens), grads, len(init)
        ctx.mark_non_differentiable(doubt)
        log_z = log_z.to(obs.dtype)
        return (log_z if past is None else log_z.masked_fill_(length == 0, 0)), doubt

    @staticmethod
    @first_derivative
    def backward(ctx, g, _):
        weights, length, tokens = ctx.given
        alike = g.stride(0) == 0 or bool((g == g[0]).all())
        found = [x * g[0] for x in ctx.grads] if alike else swept(ctx.code, weights, length, tokens, g.contiguous(), True)[2]
        init, trans, obs = found
        if len(init) < ctx.rows:
            init = torch.cat([init, init.new_zeros(ctx.rows - 1, init.shape[1])])
        return None, init, trans, obs, None, None, None


def marked(log: Tensor) -> Tensor:
    """exp, with 0 for nothing but -inf: -0 is what is possible, but below the normal numbers."""
    least = -707.8 if log.dtype == torch.float64 else -86.8  # just above the logarithm of the smallest of these
    weight = log.exp()
    return weight if log.amin() >= least else weight.masked_fill_(log < least, -0.0).masked_fill_(log == -torch.inf, 0.0)


SIZES = ("B", "T", "K", "steps", "own_init", "own_trans")
TENSORS = ("init", "trans", "rows", "index", "length", "share", "log_z", "init_grad", "trans_grad", "rows_grad", "doubt")


class Chains(ctypes.Structure):
    """What is asked of the code, as it has it."""

    _fields_ = [*((name, ctypes.c_int64) for name in SIZES), *((name, ctypes.c_void_p) for name in TENSORS)]


def swept(
    code: ctypes.CDLL, weights: list[Tensor], length: Tensor, tokens: Tensor | None, share: Tensor | None, grad: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Of weights of init, trans and obs: log Z (B,) in float64; whether underflow may matter (B,); and gradients for their
    logarithms, those of each chain times share (B,)."""
    rows, (B, T) = weights[2], (len(length), weights[2].shape[1] if tokens is None else tokens.shape[1])
    log_z, doubt = torch.empty(B, dtype=torch.double), torch.zeros(B, dtype=torch.bool)
    grads = [torch.zeros_like(x) for x in weights] if grad else []
    index = None if tokens is None else tokens.long().contiguous()
    tensors = (*weights, index, length.long().contiguous(), share, log_z, *(grads or (None,) * 3), doubt)
    K, own = rows.shape[-1], [len(x) > 1 for x in weights[:2]]
    asked = Chains(B, T, K, weights[1].shape[1], *own, *(None if x is None else x.data_ptr() for x in tensors))
    threads = max(1, min(torch.get_num_threads(), B * T * K * K // FEWEST, (B + 3) // 4))
    run = code.chains_float if rows.dtype == torch.float32 else code.chains_double
    if run(ctypes.byref(asked), ctypes.c_int64(len(rows)), ctypes.c_int64(threads)):
        raise MemoryError(f"no memory for {B} chains of {T} elements")
    return log_z, doubt, grads
