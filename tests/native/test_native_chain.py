"""Chains in C++ against torch's in float64: values and gradients of 500 random ones.

By hand, under the sanitizers of the compiler, after a change of the C++:

    export XDG_CACHE_HOME=$(mktemp -d) ASAN_OPTIONS=detect_leaks=0
    export CXXFLAGS="-g -fsanitize=address,undefined -fno-sanitize-recover"
    export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)"
    pytest -n 0 tests/native/test_native_chain.py
"""

from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import Tensor

from vispec.kernels.native import chain as native
from vispec.kernels.native.library import compiler, loaded
from vispec.kernels.sums.chain import SUMS, chain_log_prob, chain_log_prob_of_tokens

pytestmark = [pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler"), pytest.mark.usefixtures("asked")]


class Drawn:
    """A random batch of chains: potentials of a scale, some of them impossible; all of one length or not; one law or many."""

    def __init__(self, seed: int):
        r = Random(seed)
        torch.manual_seed(seed)
        self.dtype = torch.float64 if seed % 2 else torch.float32
        self.B, T, K = r.randint(1, 9), r.randint(1, 12), r.choice([1, 2, 3, 5, 8, 9, 16, 17])
        self.scale, self.impossible = r.choice([1, 20, 100]), r.random() < 0.5
        steps = (max(1, r.choice([1, T - 1])), K, K)
        self.init = self.potentials(*((self.B, K) if r.random() < 0.5 else (K,)))
        self.trans = self.potentials(*((self.B, *steps) if r.random() < 0.4 else steps if r.random() < 0.7 else (K, K)))
        self.tokens = torch.randint(7, (self.B, T)) if r.random() < 0.5 and self.B * T > 7 else None
        self.obs = self.potentials(self.B, T, K) if self.tokens is None else self.potentials(K, 7)
        self.length = torch.randint(0, T + 1, (self.B,)) if r.random() < 0.5 else None
        self.share = torch.randn(self.B) if r.random() < 0.5 else torch.full((self.B,), 1.7)

    def potentials(self, *shape: int) -> Tensor:
        found = torch.randn(*shape, dtype=self.dtype) * self.scale
        return found.masked_fill(torch.rand(*shape) < 0.3, -torch.inf) if self.impossible and torch.rand(()) < 0.5 else found

    def found(self, sums: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        """log Z, and the gradients of what is possible of it."""
        given = [x.to(dtype).clone().requires_grad_() for x in (self.init, self.trans, self.obs)]
        before, SUMS[:] = SUMS[:], [SUMS[0], sums]
        try:
            of = chain_log_prob if self.tokens is None else chain_log_prob_of_tokens
            log_z = of(*given, *([] if self.tokens is None else [self.tokens]), self.length)
            (log_z * self.share.to(dtype))[log_z > -torch.inf].sum().backward()
        finally:
            SUMS[:] = before
        return [log_z.detach().double(), *(torch.zeros_like(x).double() if x.grad is None else x.grad.double() for x in given)]


@pytest.mark.parametrize("first", range(0, 500, 100))
def test_values_and_gradients_are_those_of_torch_in_float64(first: int):
    for seed in range(first, first + 100):
        drawn = Drawn(seed)
        (right, *slopes), (log_z, *found) = drawn.found(SUMS[0], torch.float64), drawn.found(native.native_sums, drawn.dtype)
        digits = 1e-11 if drawn.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(log_z, right, rtol=digits, atol=digits, msg=lambda text, seed=seed: f"seed {seed}: {text}")
        for a, b in zip(found, slopes, strict=True):
            assert (a - b).abs().max() <= digits * b.abs().max() + 1e-30, f"seed {seed}"


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_chains_lose_no_digits(scale: int, dtype: torch.dtype):
    """Neither in sums over many elements, nor where log Z is large."""
    drawn = Drawn(0)
    drawn.dtype, drawn.scale, drawn.impossible, drawn.length, drawn.share = dtype, scale, False, None, torch.ones(5)
    drawn.init, drawn.trans, drawn.obs = drawn.potentials(2), drawn.potentials(2, 2), drawn.potentials(2, 3)
    drawn.tokens = torch.randint(3, (5, 1000))
    digits = 1e-11 if dtype == torch.float64 else 1e-5
    for a, b in zip(drawn.found(native.native_sums, dtype), drawn.found(SUMS[0], torch.float64), strict=True):
        assert (a - b).abs().max() <= digits * b.abs().max() + 1e-30


def test_it_is_the_code_that_was_asked(monkeypatch: pytest.MonkeyPatch):
    """Of chains without extremes, nothing goes to torch."""
    monkeypatch.setattr(native, "SUMS", [None])
    chain = torch.randn(4, 3), torch.randn(1, 1, 3, 3), torch.randn(4, 5, 3), torch.full((4,), 5)
    assert native.native_sums(*chain, False, None).isfinite().all()


def test_left_to_right_chains_are_not_in_doubt():
    """Sums of 0 of states that no path reaches are right."""
    K = 5
    trans = torch.full((K, K), -torch.inf).masked_fill(torch.triu(torch.ones(K, K)) > 0, 0.0).log_softmax(1)
    init = torch.tensor([0.0] + [-torch.inf] * (K - 1))
    given = init[None].expand(6, K), trans[None, None], torch.randn(6, 20, K), torch.randint(1, 21, (6,)), True, None
    _, doubt = native.NativeChains.apply(loaded(native.CHAIN_CPP, True), *given)
    assert doubt is None


def test_threads_share_the_chains(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "FEWEST", 1)
    before = torch.get_num_threads()
    for seed in range(20):
        drawn = Drawn(2 * seed + 1)
        torch.set_num_threads(3)
        found = drawn.found(native.native_sums, torch.float64)
        torch.set_num_threads(1)
        for a, b in zip(found, drawn.found(native.native_sums, torch.float64), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
    torch.set_num_threads(before)


def test_the_second_derivative_is_refused():
    log_init = torch.randn(3, dtype=torch.float64, requires_grad=True)
    log_z = native.native_sums(
        log_init.expand(2, 3), torch.randn(1, 1, 3, 3).double(), torch.randn(2, 4, 3).double(), torch.full((2,), 4), True, None
    )
    with pytest.raises(RuntimeError, match="first derivative"):
        torch.autograd.grad(log_z.sum(), log_init, create_graph=True)
