"""Filters in C++ against torch's, values and gradients, vague noise of one number among them: both are in float64, and as
precise as each other. Under sanitizers as test_native_chain.py says."""

from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import Tensor

from vispec.kernels.native import gaussian as native
from vispec.kernels.native.library import compiler
from vispec.kernels.sums.gaussian_chain import ELIMINATIONS, expanded

pytestmark = [pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler"), pytest.mark.usefixtures("asked")]


class Drawn:
    """A random batch of chains: of small and of many numbers, some elements unseen; alike in what moves them or not."""

    def __init__(self, seed: int):
        r = Random(seed)
        torch.manual_seed(seed)
        B, T, S, q = r.randint(1, 9), r.randint(1, 12), r.choice([1, 2, 3, 4, 5]), r.choice([1, 1, 2, 3])
        lead = (B,) if r.random() < 0.7 else (2, B)
        own = r.random() < 0.5
        self.step = torch.randn(*(lead if own else ()), T, S, S + q, dtype=torch.float64) * 0.5
        self.noise = torch.randn(T, S, S, dtype=torch.float64) * r.choice([0.1, 0.5, *([1e6] if S == 1 else [5.0])])
        rows = torch.randn(*lead, T, 4, S + q, dtype=torch.float64) * r.choice([0.3, 1.0])
        rows = rows * (torch.rand(*lead, T, 1, 1) > r.choice([0.0, 0.4, 1.0]))
        self.matrix = rows.mT @ rows
        self.shares = torch.randn(*lead, q, q, dtype=torch.float64), torch.randn(lead, dtype=torch.float64)

    def found(self, eliminated: Callable[..., tuple[Tensor, Tensor]]) -> list[Tensor]:
        given = [x.clone().requires_grad_() for x in (self.step, self.noise, self.matrix)]
        ends = eliminated(*expanded(*given))
        torch.stack([(end * share).sum() for end, share in zip(ends, self.shares, strict=True)]).sum().backward()
        return [*(end.detach() for end in ends), *(torch.zeros_like(x) if x.grad is None else x.grad for x in given)]


def test_values_and_gradients_are_those_of_torch():
    for seed in range(200):
        drawn = Drawn(seed)
        for a, b in zip(drawn.found(native.native_elimination), drawn.found(ELIMINATIONS[0]), strict=True):
            assert (a - b).abs().max() <= 1e-10 * max(1.0, float(b.abs().max())), f"seed {seed}"


def test_it_is_the_code_that_was_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "ELIMINATIONS", [None])
    drawn = Drawn(0)
    assert all(x.isfinite().all() for x in drawn.found(native.native_elimination))


def test_threads_share_the_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "FEWEST_STATES", 1)
    before = torch.get_num_threads()
    for seed in range(10):
        drawn = Drawn(seed)
        torch.set_num_threads(3)
        found = drawn.found(native.native_elimination)
        torch.set_num_threads(1)
        for a, b in zip(found, drawn.found(native.native_elimination), strict=True):
            assert torch.equal(a, b)
    torch.set_num_threads(before)


def test_the_second_derivative_is_refused():
    drawn = Drawn(1)
    step = drawn.step.clone().requires_grad_()
    rest, _ = native.native_elimination(*expanded(step, drawn.noise, drawn.matrix))
    with pytest.raises(RuntimeError, match="first derivative"):
        torch.autograd.grad(rest.sum(), step, create_graph=True)
