"""Projective dependency trees in C++: the chart and the way back through it in one pass, several sentences abreast."""

import ctypes

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.native.library import library
from vispec.kernels.native.text import cpp
from vispec.kernels.trees.projective import PROJECTIVE_SUMS

PROJECTIVE_CPP = cpp("vectors", "projective")
FEWEST_TERMS = 2**18  # of sums over a stretch's places that are worth a thread


def native_trees(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    """As projective_sums has it, which does what is not for this code, and trees whose scores are too large for it."""
    suited = scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.float64) and scores.numel()
    code = library(PROJECTIVE_CPP) if suited else None
    return PROJECTIVE_SUMS[0](scores, length, grad) if code is None else NativeTrees.apply(code, scores, length, grad)  # type: ignore[return-value]


PROJECTIVE_SUMS.append(native_trees)


class NativeTrees(torch.autograd.Function):
    """log Z (B,) and, if grad, the arcs' probabilities (B, n, 1 + n)."""

    @staticmethod
    def forward(ctx, code, scores, length, grad):
        log_z, arcs, doubt = charted(code, scores, length, grad)
        if doubt is not None:
            rows = doubt.nonzero()[:, 0]
            log_z[rows], exact = PROJECTIVE_SUMS[0](scores[rows], length[rows], grad)
            if grad:
                arcs[rows] = exact
        ctx.save_for_backward(arcs)
        ctx.mark_non_differentiable(arcs)
        return log_z, arcs

    @staticmethod
    @first_derivative
    def backward(ctx, g, _):
        (arcs,) = ctx.saved_tensors
        return None, g[:, None, None] * arcs, None, None


class TreeCharts(ctypes.Structure):
    """What is asked of the code, as it has it."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("B", "n")),
        *((name, ctypes.c_void_p) for name in ("scores", "length", "log_z", "arcs", "doubt")),
    ]


def charted(code: ctypes.CDLL, scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """log Z and the arcs' probabilities, and which trees are in doubt (B,), None if none."""
    B, n = scores.shape[:2]
    given = scores.contiguous(), length.long().contiguous()
    log_z, arcs, doubt = scores.new_empty(B), scores.new_zeros(scores.shape if grad else 0), torch.empty(B, dtype=torch.bool)
    asked = TreeCharts(B, n, *(x.data_ptr() for x in (*given, log_z)), arcs.data_ptr() if grad else None, doubt.data_ptr())
    threads = max(1, min(torch.get_num_threads(), B * n**3 // FEWEST_TERMS, (B + 3) // 4))
    run = code.trees_float if scores.dtype == torch.float32 else code.trees_double
    found = run(ctypes.byref(asked), ctypes.c_int64(threads))
    if found < 0:
        raise MemoryError(f"no memory for {threads} charts of {n} elements")
    return log_z, arcs, doubt if found else None
