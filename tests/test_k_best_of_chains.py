"""The k best assignments of models with chains: paths against all there are, in time linear in the length, and what is not one
chain a row as before."""

import itertools
import time

import pytest
import torch
from torch import Tensor

from vispec.compile import compile_spec
from vispec.kernels.told.ranked import best_paths
from vispec.source import Source
from vispec.verify.bounds.queries import check_k_best
from vispec.verify.build import build, load
from vispec.verify.data import random_batch
from vispec.verify.trial import Trial


@pytest.mark.parametrize("steps", ["one", "each", "by row", "by row and time"])
@pytest.mark.parametrize("impossible", [0.0, 0.4])
def test_paths_are_the_best_of_all(steps: str, impossible: float) -> None:
    generator = torch.Generator().manual_seed(0)
    B, T, K, k = 5, 4, 3, 9

    def drawn(*shape: int) -> Tensor:
        x = torch.randn(shape, dtype=torch.float64, generator=generator)
        return x.masked_fill(torch.rand(shape, generator=generator) < impossible, -torch.inf)

    shape = {"one": (1, 1, K, K), "each": (1, T - 1, K, K), "by row": (B, 1, K, K), "by row and time": (B, T - 1, K, K)}[steps]
    init, step, seen, length = drawn(B, K), drawn(*shape), drawn(B, T, K), torch.tensor([4, 3, 2, 1, 0])
    score, path = best_paths(init, step, seen, length, k)
    moves = step.expand(B, T - 1, K, K)
    for b, n in enumerate(length.tolist()):
        told = dict[tuple[int, ...], float]()
        for states in itertools.product(range(K), repeat=n):
            total = sum(seen[b, t, z] for t, z in enumerate(states)) + (init[b, states[0]] if n else 0.0)
            total += sum(moves[b, t - 1, states[t - 1], states[t]] for t in range(1, n))
            told[states] = float(total)
        best = sorted(told.values(), reverse=True)[:k]
        best += [-torch.inf] * (k - len(best))
        torch.testing.assert_close(score[b], torch.tensor(best, dtype=torch.float64))
        found = [tuple(path[b, rank, :n].tolist()) for rank in range(k) if score[b, rank] > -torch.inf]
        assert len(found) == len(set(found))
        torch.testing.assert_close([told[each] for each in found], score[b, : len(found)].tolist())


HEAD = """
size K = 2
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param mu : real
"""
HMM = (
    HEAD
    + """
plate seq:
    chain t:
        latent c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        {more}
        observed x : real ~ Normal({mean}, 1)
"""
)
SECOND = """
size K = 2
param init : simplex[K]
plate k[K]:
    param first : simplex[K]
    param mu : real
    plate before[K]:
        param trans : simplex[K]
plate seq:
    chain t:
        latent c : category[K] ~ Categorical(init) then Categorical(first[c[t-1]]) then Categorical(trans[c[t-1], c[t-2]])
        observed x : real ~ Normal(mu[c], 1)
"""
FACTORIAL = (
    HEAD
    + """
plate seq:
    chain t:
        latent c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        latent d : index[k] ~ Categorical(init) then Categorical(trans[d[t-1]])
        observed x : real ~ Normal(mu[c] + 2 * mu[d], 1)
"""
)
NESTED = (
    HEAD
    + """
plate doc:
    plate seq:
        chain t:
            latent c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
            observed x : real ~ Normal(mu[c], 1)
"""
)
OUTER = (
    HEAD
    + """
plate seq:
    latent z : index[k] ~ Categorical(init)
    chain t:
        latent c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : real ~ Normal(mu[c] + mu[z], 1)
"""
)
PARTIAL = (
    HEAD
    + """
plate seq:
    chain t:
        partial c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : real ~ Normal(mu[c], 1)
"""
)
BESIDE = (
    HEAD
    + """
plate doc:
    latent z : index[k] ~ Categorical(init)
    observed y : real ~ Normal(mu[z], 1)
    plate s[2]:
        chain t:
            latent c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
            observed x : real ~ Normal(mu[c], 1)
"""
)
TREES = """
size K = 2
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param mu : real
plate sentence:
    latent head : tree[i] ~ Uniform(projective=true)
    chain i:
        latent c : index[k] ~ Categorical(init) then Categorical(trans[c[i-1]])
        given w : real
        observed x : real ~ Normal(w[head], 1)
        observed z : real ~ Normal(mu[c], 1)
"""
MODELS = {
    "trees": TREES,
    "beside": BESIDE,
    "chain": HMM.format(more="given w : real", mean="mu[c] + w"),
    "inner": HMM.format(more="latent u : bit ~ Bernoulli(0.4)", mean="mu[c] + u"),
    "factorial": FACTORIAL,
    "nested": NESTED,
    "outer": OUTER,
    "partial": PARTIAL,
    "two": SECOND,
}


@pytest.mark.parametrize("name", MODELS)
def test_k_best_of_models_equal_enumeration(name: str) -> None:
    built = build(Source("m.vispec", MODELS[name]), {})
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        batch = random_batch(built.model, built.sizes, 4, generator, longest=4 if name in ("chain", "partial", "two") else 2)
        check = check_k_best(Trial(built, batch, 4))
        assert not check.differs, str(check)
        assert check.cases


def test_several_chains_of_a_row_are_taken_together() -> None:
    """Six chains of up to 200 elements: 1,000 passes by elements and answers, here one and what it costs to add."""
    module = load(compile_spec(Source("m.vispec", NESTED), {}), "M")
    lengths = torch.tensor([[200, 200, 150], [200, 0, 30]])
    batch = {"x": torch.randn(2, 3, 200, dtype=torch.float64), "x_len": lengths, "seq_len": torch.tensor([3, 3])}
    start = time.perf_counter()
    mode = module.posterior(batch, "mode")
    middle = time.perf_counter()
    found = module.posterior(batch, "kbest(4)")
    assert time.perf_counter() - middle < 4 * (middle - start)
    assert torch.equal(found["c"][:, 0], mode["c"])
    assert (found["(log_joint)"].diff() <= 0).all()


def test_time_is_linear_in_the_length() -> None:
    """Of 2,000 elements the three best took two passes an element and more, 4,000 times the mode; now less than the mode."""
    module = load(compile_spec(Source("m.vispec", MODELS["chain"]), {}), "M")
    T, taken = 2_000, dict[str, float]()
    batch = {"x": torch.randn(1, T, dtype=torch.float64), "w": torch.zeros(1, T), "w_len": torch.tensor([T])}
    found = {}
    for query in ("mode", "kbest(3)"):
        start = time.perf_counter()
        found[query] = module.posterior(batch, query)
        taken[query] = time.perf_counter() - start
    assert taken["kbest(3)"] < 3 * taken["mode"]
    assert torch.equal(found["kbest(3)"]["c"][:, 0], found["mode"]["c"])
    assert (found["kbest(3)"]["(log_joint)"].diff() <= 0).all()


def test_only_models_with_chains_have_the_code() -> None:
    text = compile_spec(Source("m.vispec", HEAD + "plate n:\n    latent c : index[k] ~ Categorical(init)\n"
                               "    observed x : real ~ Normal(mu[c], 1)\n"), {})  # fmt: skip
    assert "def k_best(" in text
    assert "k_best_of_chains" not in text
