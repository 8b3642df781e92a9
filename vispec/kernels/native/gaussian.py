"""Chains of normal states in C++: filter and smoother row by row, several rows abreast, and nothing kept between the two."""

import ctypes

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.native.library import library
from vispec.kernels.native.text import cpp
from vispec.kernels.sums.gaussian_chain import ELIMINATIONS

GAUSSIAN_CPP = cpp("vectors", "gaussian")
LARGEST = 12  # numbers of a state and of what is left: of more, torch's products of matrices are as fast
FEWEST_STATES = 2**12  # elements times numbers of a state that are worth a thread


def native_elimination(step: Tensor, spread: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """As EliminatedChain has it, which does what is not for this code: rest (..., q, q) and half (...)."""
    suited = step.device.type == "cpu" and matrix.shape[-1] <= LARGEST and matrix.numel()
    code = library(GAUSSIAN_CPP) if suited else None
    if code is None:
        return ELIMINATIONS[0](step, spread, matrix)
    return NativeElimination.apply(code, step, spread, matrix)  # type: ignore[return-value]


ELIMINATIONS.append(native_elimination)


class NativeElimination(torch.autograd.Function):
    """The filter; and for gradients the filter again, with what the smoother needs of it."""

    @staticmethod
    def forward(ctx, code, step, spread, matrix):
        ctx.code = code
        ctx.save_for_backward(step, spread, matrix)
        q = matrix.shape[-1] - step.shape[-2]
        found = step.new_empty(*step.shape[:-3], q, q), step.new_empty(step.shape[:-3])
        filtered_rows(code, (step, spread, matrix), found, ())
        return found

    @staticmethod
    @first_derivative
    def backward(ctx, grad_rest, grad_half):
        given = ctx.saved_tensors
        found = tuple(torch.empty(x.shape, dtype=x.dtype) for x in given)
        filtered_rows(ctx.code, given, (grad_rest.contiguous(), grad_half.contiguous()), found)
        return None, *found


COUNTS = ("B", "T", "S", "q", "step_row", "spread_row", "matrix_row")
ARRAYS = ("step", "spread", "matrix", "rest", "half", "by_rest", "by_half", "by_step", "by_spread", "by_matrix")


class NormalChains(ctypes.Structure):
    """What is asked of the code, as it has it."""

    _fields_ = [*((name, ctypes.c_int64) for name in COUNTS), *((name, ctypes.c_void_p) for name in ARRAYS)]


def filtered_rows(code: ctypes.CDLL, given: tuple[Tensor, ...], ends: tuple[Tensor, ...], slopes: tuple[Tensor, ...]) -> None:
    """Writes rest and half into `ends`; or, where there are `slopes` for step, spread and matrix, these, by those in `ends`."""
    T, S, _ = given[0].shape[-3:]
    rows = [rows_together(each) for each in given]
    B = rows[0].shape[0]
    strides = [each.stride(0) if B > 1 else 0 for each in rows]
    pointers = [each.data_ptr() for each in rows]
    results = [each.data_ptr() for each in ends]
    pointers += [0, 0, *results, *(each.data_ptr() for each in slopes)] if slopes else [*results, 0, 0, 0, 0, 0]
    asked = NormalChains(B, T, S, given[2].shape[-1] - S, *strides, *pointers)
    threads = max(1, min(torch.get_num_threads(), B * T * S // FEWEST_STATES, (B + 3) // 4))
    if code.normal_chains(ctypes.byref(asked), ctypes.c_int64(threads)):
        raise MemoryError(f"no memory for {threads} chains of {T} elements")


def rows_together(part: Tensor) -> Tensor:
    """(..., T, ., .) as (B, T, ., .), where a row's numbers lie together."""
    rows = part.reshape(-1, *part.shape[-3:])
    return rows if rows[0].is_contiguous() else rows.contiguous()
