"""log Z of projective dependency trees and the arcs' probabilities: 16 sentences of 40 elements, float32, one thread.

    python -m benchmarks.trees

prints milliseconds, least and median, by turns in the same run: of vispec in C++ (which it builds, if need be), of vispec in
torch, and of torch-struct where that is installed (`pip install torch-struct==0.5`; it is not among the requirements); and
ratios of the least to the first."""

import importlib.util
import os
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from vispec.kernels.native.library import library
from vispec.kernels.native.projective import PROJECTIVE_CPP, native_trees
from vispec.kernels.trees.projective import projective_sums

SENTENCES, LENGTH, ROUNDS = 16, 40, 20
Sums = Callable[[Tensor], Tensor]


def by(kernel: Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]) -> Sums:
    return lambda scores: kernel(scores, torch.full((len(scores),), scores.shape[1]), True)[0]


def torch_struct(scores: Tensor) -> Tensor:
    """Its potentials are (B, head, dependent), with the root's on the diagonal."""
    from torch_struct import DependencyCRF  # type: ignore[import-not-found]

    potentials = scores[:, :, 1:].mT
    diagonal = torch.eye(scores.shape[1], dtype=torch.bool)
    return DependencyCRF(torch.where(diagonal, scores[:, None, :, 0], potentials), multiroot=False).partition


def step(sums: Sums, scores: Tensor) -> tuple[Tensor, Tensor]:
    given = scores.clone().requires_grad_()
    log_z = sums(given)
    log_z.sum().backward()
    assert given.grad is not None
    return log_z.detach(), given.grad


def main() -> None:
    torch.set_num_threads(1)
    os.environ["VISPEC_NATIVE"] = "on"
    scores = torch.randn(SENTENCES, LENGTH, LENGTH + 1, generator=torch.Generator().manual_seed(0))
    programs = {"torch": by(projective_sums)}
    if library(PROJECTIVE_CPP):
        programs = {"native": by(native_trees)} | programs
    if importlib.util.find_spec("torch_struct"):
        programs["torch-struct"] = torch_struct
    log_z, arcs = step(programs["torch"], scores)
    for name, sums in programs.items():
        value, found = step(sums, scores)
        errors = [float((a - b).abs().max()) for a, b in ((value, log_z), (found, arcs))]
        print(f"{name:12} differs from torch by {errors[0]:.1e} in log Z, {errors[1]:.1e} in probabilities")
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, sums in programs.items():
            start = time.perf_counter()
            step(sums, scores)
            times[name].append(1e3 * (time.perf_counter() - start))
    first = min(next(iter(times.values())))
    for name, found in times.items():
        print(f"{name:12} {min(found):7.1f} ms, median {median(found):7.1f}   ratio {first / min(found):6.3f}")


if __name__ == "__main__":
    main()
