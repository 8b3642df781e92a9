"""Projective trees in C++ against torch's in float64: values and gradients of 300 random batches, with scores times 1, 20 and
100. Under sanitizers as test_native_chain.py says."""

from collections.abc import Callable
from random import Random
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vispec.compile import compile_spec
from vispec.kernels.native import projective as native
from vispec.kernels.native.library import compiler, loaded
from vispec.kernels.trees.projective import PROJECTIVE_SUMS, projective_log_prob, projective_sums
from vispec.source import Source

pytestmark = [pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler"), pytest.mark.usefixtures("asked")]
Sums = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]
SPEC = """\
net f(above: real[2]) -> (loc: real[2], scale: positive[2]) = mlp([4])
plate sentence:
    latent head : tree[i] ~ Uniform(projective=true)
    plate i:
        observed x : real[2] ~ Normal(f(x[head]))
"""


class Drawn:
    """A random batch of sentences: scores of a scale, some of them impossible, even all of some; of one length or not."""

    def __init__(self, seed: int):
        r = Random(seed)
        torch.manual_seed(seed)
        self.dtype = torch.float64 if seed % 2 else torch.float32
        B, n, scale = r.randint(1, 10), r.choice([1, 2, 3, 4, 5, 6, 7, 11]), r.choice([1, 20, 100])
        self.scores = torch.randn(B, n, n + 1, dtype=self.dtype) * scale
        if r.random() < 0.5:
            self.scores.masked_fill_(torch.rand(self.scores.shape) < r.choice([0.1, 0.4]), -torch.inf)
            self.scores[r.randrange(B)].masked_fill_(torch.rand(n, n + 1) < r.choice([0, 0.7, 1]), -torch.inf)
        self.length = torch.randint(0, n + 1, (B,)) if r.random() < 0.6 else None
        self.one_root = r.random() < 0.6
        self.share = torch.randn(B)

    def found(self, sums: Sums, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """log Z, and the gradient of what is possible of it."""
        scores = self.scores.to(dtype).clone().requires_grad_()
        before, PROJECTIVE_SUMS[:] = PROJECTIVE_SUMS[:], [PROJECTIVE_SUMS[0], sums]
        try:
            log_z = projective_log_prob(scores, self.length, self.one_root)
            (log_z * self.share.to(dtype))[log_z > -torch.inf].sum().backward()
        finally:
            PROJECTIVE_SUMS[:] = before
        assert scores.grad is not None
        return log_z.detach().double(), scores.grad.double()


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_values_and_gradients_are_those_of_torch_in_float64(first: int):
    for seed in range(first, first + 100):
        drawn = Drawn(seed)
        right, slopes = drawn.found(projective_sums, torch.float64)
        log_z, found = drawn.found(native.native_trees, drawn.dtype)
        digits = 1e-11 if drawn.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(log_z, right, rtol=digits, atol=digits, msg=lambda text, seed=seed: f"seed {seed}: {text}")
        assert (found - slopes).abs().max() <= digits * slopes.abs().max(), f"seed {seed}"


def test_without_gradients_the_values_are_the_same():
    drawn = Drawn(3)
    length = torch.full((len(drawn.scores),), drawn.scores.shape[1])
    assert torch.equal(*(native.native_trees(drawn.scores, length, grad)[0] for grad in (False, True)))


def test_it_is_the_code_that_was_asked(monkeypatch: pytest.MonkeyPatch):
    """Of scores up to 10⁸, nothing goes to torch: what another number hides is 0, and nothing else."""
    monkeypatch.setattr(native, "PROJECTIVE_SUMS", [None])
    scores = torch.randn(5, 7, 8, dtype=torch.float64) * 2e7
    log_z, arcs = native.native_trees(scores, torch.full((5,), 7), True)
    monkeypatch.undo()
    right, slopes = projective_sums(scores, torch.full((5,), 7), True)
    torch.testing.assert_close(log_z, right, rtol=1e-15, atol=0)
    torch.testing.assert_close(arcs, slopes)
    torch.testing.assert_close(arcs.sum(2), torch.ones(5, 7, dtype=torch.float64))


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, 1e9, -1e300])
def test_scores_that_have_no_exponents_are_left_to_torch(odd: float):
    scores = torch.randn(6, 3, 4, dtype=torch.float64)
    scores[4, 1, 1] = odd
    scores[2, 0, 1] = scores[1, 2, 1] = odd  # which do not count: an element above itself, and one past the length
    length = torch.tensor([3, 2, 3, 3, 3, 0])
    *_, doubt = native.charted(loaded(native.PROJECTIVE_CPP, True), scores, length, True)
    assert doubt is not None
    assert doubt.nonzero().tolist() == [[4]]
    for a, b in zip(native.native_trees(scores, length, True), projective_sums(scores, length, True), strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


def test_threads_share_the_sentences(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "FEWEST_TERMS", 1)
    before = torch.get_num_threads()
    for seed in range(20):
        drawn = Drawn(seed)
        torch.set_num_threads(3)
        found = drawn.found(native.native_trees, torch.float64)
        torch.set_num_threads(1)
        for a, b in zip(found, drawn.found(native.native_trees, torch.float64), strict=True):
            assert torch.equal(a, b)
    torch.set_num_threads(before)


def test_the_second_derivative_is_refused():
    scores = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    log_z, _ = native.native_trees(scores, torch.full((2,), 4), True)
    with pytest.raises(RuntimeError, match="first derivative"):
        torch.autograd.grad(log_z.sum(), scores, create_graph=True)


def test_a_module_computes_the_same_by_both():
    """And by torch where its text carries no C++."""
    texts = [compile_spec(Source("parser.vispec", SPEC), native=carried) for carried in (True, False)]
    assert [native.PROJECTIVE_CPP in text for text in texts] == [True, False]
    batch = {"x": torch.randn(3, 6, 2).double(), "x_len": torch.tensor([6, 1, 4])}
    found = []
    for text in texts:
        emitted = ModuleType("emitted")
        exec(compile(text, "<emitted>", "exec"), vars(emitted))
        torch.manual_seed(0)
        module = emitted.Parser().double()
        module.log_prob(batch).sum().backward()
        found.append([module.log_prob(batch).detach(), *(parameter.grad for parameter in module.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
