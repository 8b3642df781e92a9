"""Random models through the whole pipeline: the emitted module against enumeration in float64."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vispec.source import Source
from vispec.verify import checks
from vispec.verify.bounds import queries
from vispec.verify.build import Built, build, randomise
from vispec.verify.generate import spec_texts
from vispec.verify.report import Check
from vispec.verify.trial import Trial, finite_unknowns, small_batch

ROWS = 3
TERMS = 3_000
RANDOM = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # specs are small as drawn, and shrinking one takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: more threads only cost."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trial_of(text: str, seed: int, zeros: float = 0.0, name: str = "random") -> Trial:
    built = build(Source(f"{name}.vispec", text), {})
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator, zeros=zeros)
    batch, _ = small_batch(built, ROWS, generator, TERMS)
    return Trial(built, batch, ROWS)


def agrees(check: Check) -> None:
    assert check.skipped is None, check
    assert not check.differs, check


@settings(RANDOM, max_examples=200)
@given(text=spec_texts(), seed=st.integers(0, 2**20))
def test_values_and_gradients_equal_enumeration(text: str, seed: int) -> None:
    trial = trial_of(text, seed)
    agrees(checks.check_log_prob(trial))
    agrees(checks.check_gradient(trial))


@settings(RANDOM, max_examples=60)
@given(text=spec_texts(), seed=st.integers(0, 2**20))
def test_exact_zeros_in_the_parameters(text: str, seed: int) -> None:
    trial = trial_of(text, seed, zeros=0.4)
    agrees(checks.check_impossible(trial))
    agrees(checks.check_gradient(trial))


@settings(RANDOM, max_examples=60)
@given(text=spec_texts(), seed=st.integers(0, 2**20))
def test_posteriors_equal_enumeration(text: str, seed: int) -> None:
    trial = trial_of(text, seed)
    if finite_unknowns(trial.built):
        assert not checks.check_marginals(trial).differs
        assert not checks.check_mode(trial).differs
        assert not checks.check_observed_marginals(trial).differs


@settings(RANDOM, max_examples=60)
@given(text=spec_texts(), seed=st.integers(0, 2**20))
def test_padding_order_and_splitting_change_nothing(text: str, seed: int) -> None:
    trial = trial_of(text, seed)
    generator = torch.Generator().manual_seed(seed)
    agrees(checks.check_rubbish(trial, generator))
    agrees(checks.check_permutation(trial, generator))
    agrees(checks.check_splitting(trial))
    agrees(checks.check_loss(trial))


@settings(RANDOM, max_examples=60)
@given(text=spec_texts(), seed=st.integers(0, 2**20))
def test_samples_are_possible_and_every_question_has_its_answer(text: str, seed: int) -> None:
    trial = trial_of(text, seed)
    module, model = trial.built.module, trial.built.model
    keys = {plate.name: plate.length_key for plate in model.plates if plate.ragged}
    lengths = {name: trial.batch[key] for name, key in keys.items() if key in trial.batch}
    found = module.sample(ROWS, trial.batch, lengths)
    drawn = {v.name: found[v.name] for v in model.variables if v.role in ("observed", "partial")}
    seen = {name: value for name, value in found.items() if name.endswith("_observed")}
    assert torch.isfinite(module.log_prob(trial.batch | drawn | seen)).all()
    for rule in ("mean", "mode", "sample"):
        module.predict(trial.batch, rule, 3)
    if finite_unknowns(trial.built):
        module.posterior(trial.batch, query="sample")
        for check in (queries.check_entropy, queries.check_k_best, queries.check_divergence, queries.check_pairs):
            if check is not queries.check_pairs or queries.chained(trial):
                assert not check(trial).differs


COMPILED = {
    "mixture": """
size K = 3
param pi : simplex[K]
plate k[K]:
    param mu : real[2]
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real[2] ~ Normal(mu[c], 1)
""",
    "chain": """
size K = 3
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param emit : unit
plate n:
    chain t:
        latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : bit ~ Bernoulli(emit[c])
""",
    "selection": """
net lex(y: category[5]) -> simplex[4] = embed(3) |> mlp([4])
plate n:
    plate j:
        given y : category[5]
    plate i:
        latent   a : index[j] ~ Uniform()
        observed x : category[4] ~ Categorical(lex(y[a]))
""",
    "nested": """
size K = 2
param pi : simplex[K]
plate k[K]:
    param mix : simplex[K]
    param emit : simplex[4]
plate n:
    latent d : index[k] ~ Categorical(pi)
    plate i:
        latent z : index[k] ~ Categorical(mix[d])
        plate m:
            observed x : category[4] ~ Categorical(emit[z])
""",
    "partial": """
size K = 3
param pi : simplex[K]
plate k[K]:
    param mu : real
plate n:
    plate i:
        partial  y : index[k] ~ Categorical(pi)
        observed x : real ~ Normal(mu[y], 1)
""",
    "supervised": """
net f(y: real[2]) -> real = mlp([4])
plate n:
    given    y : real[2]
    observed x : real ~ Normal(f(y), 1)
""",
}


def compiled_gradients(built: Built, trial: Trial, loss) -> tuple[torch.Tensor, list[torch.Tensor]]:
    value = loss(trial.batch, 30)
    return value.detach(), list(torch.autograd.grad(value, list(built.module.parameters())))


@pytest.fixture
def importable(monkeypatch) -> Callable[[Built], None]:
    """torch.compile looks a module's globals up by the module's name, as if it had been imported."""

    def register(built: Built) -> None:
        namespace = type(built.module).loss.__globals__
        imported = ModuleType(namespace["__name__"])
        imported.__dict__.update(namespace)
        monkeypatch.setitem(sys.modules, imported.__name__, imported)

    return register


@pytest.mark.parametrize(
    ("name", "backend"),
    [*((name, "aot_eager") for name in COMPILED), ("mixture", "inductor"), ("chain", "inductor")],
)
def test_whole_graph_compilation_gives_the_same_numbers(name: str, backend: str, importable) -> None:
    trial = trial_of(COMPILED[name], seed=1, name=name)
    importable(trial.built)
    module = trial.built.module
    expected, plain = compiled_gradients(trial.built, trial, module.loss)
    torch._dynamo.reset()
    compiled = torch.compile(module.loss, fullgraph=True, backend=backend)
    got, gradients = compiled_gradients(trial.built, trial, compiled)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    for own, reference in zip(gradients, plain, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(got, -10 * trial.log_prob.detach().sum(), rtol=1e-10, atol=1e-10)
