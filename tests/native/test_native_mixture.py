"""Mixtures in C++ against torch's in float64: values and gradients of random ones. Under sanitizers as test_native_chain.py
says."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from vispec.kernels.native import mixture as native
from vispec.kernels.native.library import compiler
from vispec.kernels.sums import mixture

pytestmark = [pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler"), pytest.mark.usefixtures("asked")]


class Drawn:
    """A random mixture and data: few components or many, far apart or close, some impossible; rows that count differently."""

    def __init__(self, seed: int):
        r = Random(seed)
        torch.manual_seed(seed)
        self.dtype = torch.float64 if seed % 2 else torch.float32
        N, D, K = r.randint(1, 60), r.randint(1, 9), r.choice([1, 2, 3, 8, 15, 16, 17, 33, 100])
        self.normal = r.random() < 0.5
        self.rows = torch.randn(N, D, dtype=self.dtype)
        scale = r.choice([1, 20, 100])
        log_weight, loc = torch.randn(K, dtype=self.dtype) * scale, torch.randn(K, D, dtype=self.dtype) * scale
        if r.random() < 0.4:
            log_weight[torch.rand(K) < 0.5] = -torch.inf
        self.components = (log_weight, loc, *([torch.rand(K, D, dtype=self.dtype) + 0.2] if self.normal else []))
        self.share = torch.randn(N) if r.random() < 0.5 else torch.full((N,), 1.7)

    def found(self, sums: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        """The values, and the gradients of what is possible of them."""
        given = [x.to(dtype).clone().requires_grad_() for x in self.components]
        log_p = sums(self.rows.to(dtype), *given)
        (log_p * self.share.to(dtype))[log_p > -torch.inf].sum().backward()
        return [log_p.detach().double(), *(torch.zeros_like(x).double() if x.grad is None else x.grad.double() for x in given)]

    @property
    def by_torch(self) -> Callable[..., Tensor]:
        return mixture.normal_mixture_of_rows if self.normal else mixture.mixture_of_rows

    @property
    def by_code(self) -> Callable[..., Tensor]:
        return native.native_normal_mixture if self.normal else native.native_mixture


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but C++: what torch takes over would fail."""
    monkeypatch.setattr(native, "MIXTURES", [None])
    monkeypatch.setattr(native, "NORMAL_MIXTURES", [None])


@pytest.mark.usefixtures("alone")
def test_values_and_gradients_are_those_of_torch_in_float64():
    for seed in range(500):
        drawn = Drawn(seed)
        right, found = drawn.found(drawn.by_torch, torch.float64), drawn.found(drawn.by_code, drawn.dtype)
        largest = float(right[0][right[0].isfinite()].abs().max()) if right[0].isfinite().any() else 0.0
        rounding = 2 * torch.finfo(drawn.dtype).eps * largest  # of log-densities: so much responsibilities are off
        digits = max(1e-11 if drawn.dtype == torch.float64 else 1e-5, rounding)
        for a, b in zip(found, right, strict=True):
            most = float(b[b.isfinite()].abs().max()) if b.isfinite().any() else 0.0
            torch.testing.assert_close(a, b, rtol=digits, atol=digits * max(1.0, most), msg=lambda t, s=seed: f"seed {s}: {t}")


@pytest.mark.usefixtures("alone")
def test_threads_share_the_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "FEWEST_PRODUCTS", 1)
    before = torch.get_num_threads()
    for seed in range(1, 21, 2):
        drawn = Drawn(seed)
        torch.set_num_threads(3)
        found = drawn.found(drawn.by_code, drawn.dtype)
        torch.set_num_threads(1)
        for a, b in zip(found, drawn.found(drawn.by_code, drawn.dtype), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12 * max(1.0, float(b[b.isfinite()].abs().max())))
    torch.set_num_threads(before)


@pytest.mark.parametrize("impossible", [False, True])
def test_rows_of_which_nothing_is_known(impossible: bool):
    """What is no number stays none; where no component is possible, -inf and no gradient."""
    given = torch.randn(6, 2), torch.zeros(3), torch.randn(3, 2), torch.ones(3, 2)
    if impossible:
        given[1].fill_(-torch.inf)
    else:
        given[0][2] = torch.nan
    components = [x.clone().requires_grad_() for x in given[1:]]
    log_p = native.native_normal_mixture(given[0], *components)
    log_p[:2].sum().backward()
    if impossible:
        assert (log_p == -torch.inf).all()
        assert all(x.grad is not None and not x.grad.any() for x in components)
    else:
        assert log_p.isnan().tolist() == [False, False, True, False, False, False]


def test_what_is_latent_and_second_derivatives_are_torchs():
    torch.manual_seed(0)
    given = [torch.randn(5, 2), torch.randn(3), torch.randn(3, 2), torch.rand(3, 2) + 0.5]
    given: Any = [x.double().requires_grad_() for x in given]
    assert torch.autograd.gradcheck(native.native_normal_mixture, given)
    rows = given[0].detach()
    assert torch.autograd.gradgradcheck(lambda *x: native.native_normal_mixture(rows, *x), given[1:])
