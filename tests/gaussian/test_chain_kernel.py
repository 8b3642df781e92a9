"""The integral along a chain: by a scan, by steps one after the other, and with spreads of one row where rows are alike."""

import pytest
import torch
from torch import Tensor

from vispec.kernels.sums import gaussian_chain
from vispec.kernels.sums.gaussian import eliminate
from vispec.kernels.sums.gaussian_chain import eliminate_chain


def drawn(length: int, size: int, alike: bool) -> list[Tensor]:
    """A matrix (2, T, S + 2, S + 2), a step and noise that enters some of the states alone."""
    chance = torch.Generator().manual_seed(10 * length + size)
    rows = torch.randn(2, length, 3, size + 2, generator=chance, dtype=torch.double)
    if alike:
        rows[1, ..., :size] = rows[0, ..., :size]
    step = 0.5 * torch.randn(length, size, size + 2, generator=chance, dtype=torch.double)
    noise = torch.randn(length, size, max(1, size - 1), generator=chance, dtype=torch.double)
    return [each.requires_grad_() for each in (rows, step, noise)]


def dense(rows: Tensor, step: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The same by one matrix over all noise: each state as a form in it, and in what is left."""
    length, size, many = noise.shape
    left, state, forms = step.shape[-1] - size, step.new_zeros(size, length * many + 2), list[Tensor]()
    for t in range(length):
        own = torch.cat([step.new_zeros(size, t * many), noise[t], step.new_zeros(size, (length - 1 - t) * many)], -1)
        state = (step[t, :, :size] @ state if t else 0) + torch.cat([own, step[t, :, size:]], -1)
        rest = torch.cat([step.new_zeros(left, length * many), torch.eye(left, dtype=step.dtype)], -1)
        forms.append(rows[:, t] @ torch.cat([state, rest]))
    whole = torch.cat(forms, 1)
    return eliminate(whole.mT @ whole, size=length * many)


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("scan", [False, True])
def test_it_is_the_integral_over_all_noise(length: int, size: int, alike: bool, scan: bool, monkeypatch):
    monkeypatch.setattr(gaussian_chain, "at_once", lambda step: scan)
    rows, step, noise = leaves = drawn(length, size, alike)
    found, wanted = eliminate_chain(rows.mT @ rows, step, noise), dense(rows, step, noise)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    weights = [torch.randn_like(each) for each in wanted]
    one, other = (
        torch.autograd.grad(sum((w * each).sum() for w, each in zip(weights, parts, strict=True)), leaves)  # type: ignore
        for parts in (found, wanted)
    )
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("scan", [False, True])
def test_it_compiles_whole(scan: bool, monkeypatch):
    monkeypatch.setattr(gaussian_chain, "at_once", lambda step: scan)
    rows, step, noise = drawn(5, 3, True)
    compiled = torch.compile(eliminate_chain, fullgraph=True, backend="aot_eager")
    found, wanted = (run(rows.mT @ rows, step, noise) for run in (compiled, eliminate_chain))
    torch.testing.assert_close(found, wanted)
    one, other = (torch.autograd.grad(rest.sum() + half.sum(), [rows, step, noise]) for rest, half in (found, wanted))
    torch.testing.assert_close(one, other)
