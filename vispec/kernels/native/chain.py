"""Chains of discrete states in C++: both sweeps and all gradients in one pass, over four chains at a time."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.native.library import library
from vispec.kernels.native.text import cpp
from vispec.kernels.sums.chain import SUMS

CHAIN_CPP = cpp("vectors", "weights", "chain")
MOST_STATES = 128  # of more, torch's products of large matrices are as fast
FEWEST = 2**19  # products that are worth a thread


def native_sums(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor, grad: bool, tokens: Tensor | None) -> Tensor:
    """log Z (B,) as ChainSums has it, which does what is not for this code, and chains that it is not precise enough for."""
    suited = init.device.type == "cpu" and obs.dtype in (torch.float32, torch.float64) and obs.shape[-1] <= MOST_STATES
    alike = init.dtype == trans.dtype == obs.dtype
    code = library(CHAIN_CPP) if suited and alike and init.numel() and 0 not in obs.shape else None
    if code is None:
        return SUMS[0](init, trans, obs, length, grad, tokens)
    log_z, doubt = NativeChains.apply(code, init, trans, obs, length, grad, tokens)
    if doubt is None:
        return log_z
    rows = doubt.nonzero()[:, 0]
    seen = obs[rows] if tokens is None else obs
    some = (init[rows], trans if len(trans) == 1 else trans[rows], seen, length[rows], grad)
    return log_z.index_put((rows,), SUMS[0](*some, None if tokens is None else tokens[rows]))


SUMS.append(native_sums)


class NativeChains(torch.autograd.Function):
    """log Z (B,), and which are in doubt (B,), None where none is. With it come the gradients of its sum; where chains count
    differently they are made anew."""

    @staticmethod
    def forward(ctx, code, init, trans, obs, length, grad, tokens):
        log_z, doubt, ctx.grads = swept(code, (init, trans, obs), length, tokens, None, grad)
        ctx.code, ctx.sure = code, doubt is None
        ctx.save_for_backward(init, trans, obs, length, tokens)
        return log_z, doubt

    @staticmethod
    @first_derivative
    def backward(ctx, g, _):
        *potentials, length, tokens = ctx.saved_tensors
        if ctx.sure and (g.stride(0) == 0 or bool((g == g[0]).all())):
            found = parted(ctx.grads * g[0], *potentials)
        else:
            found = parted(swept(ctx.code, potentials, length, tokens, g.contiguous(), True)[2], *potentials)
        return None, *found, None, None, None


SIZES = ("B", "T", "K", "steps", "own_init", "own_trans", "R", "row", "column")
TENSORS = ("init", "trans", "rows", "index", "length", "share", "log_z", "init_grad", "trans_grad", "rows_grad", "doubt")


class Chains(ctypes.Structure):
    """What is asked of the code, as it has it."""

    _fields_ = [*((name, ctypes.c_int64) for name in SIZES), *((name, ctypes.c_void_p) for name in TENSORS)]


def swept(
    code: ctypes.CDLL, potentials: Sequence[Tensor], length: Tensor, tokens: Tensor | None, share: Tensor | None, grad: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Of init, trans and obs: log Z (B,); where underflow may matter (B,), None if nowhere; and the gradients, those of each
    chain times share (B,), of which `parted` makes three."""
    init, trans, obs = potentials
    (B, K), T, R = init.shape, obs.shape[1] if tokens is None else tokens.shape[1], obs.numel() // obs.shape[-1]
    own_init, strides = init.stride(0) != 0, (1, R) if by_columns(obs) else (K, 1)
    log_z, doubt, sizes = init.new_empty(B), torch.empty(B, dtype=torch.bool), [x.numel() if grad else 0 for x in potentials]
    grads = init.new_empty(sum(sizes))
    first = grads.data_ptr()
    slopes = [first + at * grads.element_size() if grad else None for at in (0, sizes[0], sizes[0] + sizes[1])]
    given = (init if own_init else init[:1]).contiguous(), trans.contiguous(), obs if by_columns(obs) else obs.contiguous()
    more = None if tokens is None else tokens.long().contiguous(), length.long().contiguous(), share, log_z
    pointers = [None if x is None else x.data_ptr() for x in (*given, *more)]
    asked = Chains(B, T, K, trans.shape[1], own_init, len(trans) > 1, R, *strides, *pointers, *slopes, doubt.data_ptr())
    threads = max(1, min(torch.get_num_threads(), B * T * K * K // FEWEST, (B + 3) // 4))
    run = code.chains_float if obs.dtype == torch.float32 else code.chains_double
    found = run(ctypes.byref(asked), ctypes.c_int64(threads))
    if found < 0:
        raise MemoryError(f"no memory for {B} chains of {T} elements")
    return log_z, doubt if found else None, grads


def by_columns(obs: Tensor) -> bool:
    """Whether a table has the values of a state one after the other."""
    return obs.dim() == 2 and not obs.is_contiguous() and obs.mT.is_contiguous()


def parted(grads: Tensor, init: Tensor, trans: Tensor, obs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Those of init, trans and obs."""
    first, step, seen = grads.split([init.numel(), trans.numel(), obs.numel()])
    return (
        first.view(init.shape),
        step.view(trans.shape),
        seen.view(obs.mT.shape).mT if by_columns(obs) else seen.view(obs.shape),
    )
