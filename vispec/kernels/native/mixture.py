"""Mixtures of an exponential family in C++: some rows at a time, with their share of the gradient, and nothing kept."""

import ctypes

import torch
from torch import Tensor

from vispec.kernels.native.library import library
from vispec.kernels.native.text import cpp
from vispec.kernels.sums.mixture import MIXTURES, NORMAL_MIXTURES

MIXTURE_CPP = cpp("vectors", "mixture")
FEWEST_PRODUCTS = 2**19  # that are worth a thread


def native_mixture(statistics: Tensor, const: Tensor, weight: Tensor) -> Tensor:
    """(N,) as mixture_of_rows has it."""
    return summed("mixtures", MIXTURES[0], (statistics, const, weight))


MIXTURES.append(native_mixture)


def native_normal_mixture(x: Tensor, log_weight: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """(N,) as normal_mixture_of_rows has it."""
    return summed("normal_mixtures", NORMAL_MIXTURES[0], (x, log_weight, loc, scale))


NORMAL_MIXTURES.append(native_normal_mixture)


def summed(name: str, by_torch, given: tuple[Tensor, ...]) -> Tensor:
    """By the code of that name, or by torch where it is not for such tensors."""
    rows, kind, grad = given[0], given[0].dtype, torch.is_grad_enabled()
    suited = rows.device.type == "cpu" and kind in (torch.float32, torch.float64) and not torch.compiler.is_compiling()
    plain = all(x.dtype == kind and x.numel() for x in given) and not (grad and rows.requires_grad)
    code = library(MIXTURE_CPP) if suited and plain else None
    if code is None:
        return by_torch(*given)
    run = getattr(code, f"{name}_{'float' if kind == torch.float32 else 'double'}")
    return NativeMixture.apply(run, by_torch, grad and any(x.requires_grad for x in given), *given)  # type: ignore[return-value]


class NativeMixture(torch.autograd.Function):
    """With the values come the gradients of their sum; where rows count differently these are made anew."""

    @staticmethod
    def forward(ctx, run, by_torch, grad, *given):
        ctx.run, ctx.by_torch = run, by_torch
        ctx.save_for_backward(*given)
        log_p, ctx.slopes = mixed_rows(run, given, None, grad)
        return log_p

    @staticmethod
    def backward(ctx, g):
        rows, *components = ctx.saved_tensors
        if torch.is_grad_enabled():  # it is to be differentiated again
            with_rows = ctx.by_torch(rows, *components)
            wanted = [x for x in components if x.requires_grad]
            slopes = iter(torch.autograd.grad(with_rows, wanted, g, create_graph=True))
            return None, None, None, None, *(next(slopes) if x.requires_grad else None for x in components)
        if g.stride(0) == 0 or bool((g == g[0]).all()):
            by = g[0]
            return None, None, None, None, *(slope * by for slope in ctx.slopes)
        return None, None, None, None, *mixed_rows(ctx.run, (rows, *components), g.contiguous(), True)[1]


def mixed_rows(run, given: tuple[Tensor, ...], share: Tensor | None, grad: bool) -> tuple[Tensor, list[Tensor]]:
    """The values (N,), and the gradients for the components, each row's times share (N,)."""
    rows, *components = (x.contiguous() for x in given)
    (N, T), K, log_p = rows.shape, len(components[0]), rows.new_empty(len(rows))
    slopes = [torch.empty_like(x) for x in components] if grad else []
    pointers = [x.data_ptr() for x in (rows, *components)] + [0 if share is None else share.data_ptr(), log_p.data_ptr()]
    pointers += [x.data_ptr() for x in slopes] or [0] * len(components)
    asked = (ctypes.c_int64 * (3 + len(pointers)))(N, T, K, *pointers)  # as a struct of the C++ has them, 8 bytes each
    threads = max(1, min(torch.get_num_threads(), N * T * K // FEWEST_PRODUCTS, (N + 7) // 8))
    if run(asked, ctypes.c_int64(threads)):
        raise MemoryError(f"no memory for {threads} blocks of {K} components")
    return log_p, slopes
