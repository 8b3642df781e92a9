"""Posterior queries about several latents together: neighbours in a chain, and the divergence between two models."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vispec.source import Source
from vispec.verify.bounds import queries
from vispec.verify.build import Built, build, randomise
from vispec.verify.trial import Trial, small_batch

SPECS = Path(__file__).parent.parent / "specs"

INNER_CHAIN = """
size K = 3
param start : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param mu    : real
plate n:
    chain t:
        plate i[2]:
            latent   c : index[k] ~ Categorical(start) then Categorical(trans[c[t-1]])
            observed x : real     ~ Normal(mu[c], 1)
"""


def built_from(text: str, name: str = "inline", scale: float = 1.0, zeros: float = 0.0, seed: int = 3) -> Built:
    built = build(Source(f"{name}.vispec", text), {})
    randomise(built, torch.Generator().manual_seed(seed), scale, zeros)
    return built


def spec(name: str) -> str:
    return (SPECS / f"{name}.vispec").read_text()


def trial_of(built: Built, rows: int = 5, seed: int = 5) -> Trial:
    return Trial(built, small_batch(built, rows, torch.Generator().manual_seed(seed), 1000)[0], rows)


CHAINS = {name: spec(name) for name in ("hmm", "hmm2", "factorial_hmm", "mixture_hmm", "partial_tagger", "hmm_alignment")}


@pytest.mark.parametrize("zeros", [0.0, 0.2])
@pytest.mark.parametrize("text", [*CHAINS.values(), INNER_CHAIN], ids=[*CHAINS, "chain around a plate"])
def test_pairs_equal_enumeration_and_sum_to_marginals_on_both_sides(text, zeros):
    check = queries.check_pairs(trial_of(built_from(text, zeros=zeros)))
    assert check.cases
    assert not check.differs, check


@pytest.mark.parametrize("scale", [1.0, 20.0, 100.0])
def test_pairs_sum_to_one_in_single_precision(scale):
    built = built_from(spec("hmm"), scale=scale)
    batch = {"x": torch.randint(0, 3, (4, 30)), "x_len": torch.tensor([30, 17, 2, 1])}
    pairs = built.module.float().posterior(batch, query="pairs")["c"]
    assert pairs.shape == (4, 29, 3, 3)
    inside = torch.arange(1, 30) < batch["x_len"][:, None]
    torch.testing.assert_close(pairs.sum((-1, -2)), inside.float(), rtol=0, atol=1e-4)
    marginals = built.module.posterior(batch)["c"]
    torch.testing.assert_close(pairs.sum(-2)[inside], marginals[:, 1:][inside], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["hmm", "hmm2", "mixture_hmm"])
def test_a_chain_of_one_element_has_no_pairs(name):
    built = built_from(spec(name))
    trial = trial_of(built)
    batch = {key: value[:, :1] if value.dim() > 1 else torch.ones_like(value) for key, value in trial.batch.items()}
    shapes = {tuple(value.shape[1:]) for value in built.module.posterior(batch, query="pairs").values()}
    assert all(shape[0] == 0 for shape in shapes)


def test_a_model_without_chains_says_which_queries_it_answers():
    built = built_from(spec("noisy_or"))
    with pytest.raises(ValueError, match="pairs where a latent is a chain") as refused:
        built.module.posterior(trial_of(built).batch, query="pairs")
    assert str(refused.value).split("queries are ")[1].count("pairs") == 1


COMPARED = ["hmm", "hmm2", "factorial_hmm", "mixture_hmm", "partial_tagger", "noisy_or", "induced_dependencies", "entity_types"]


@pytest.mark.parametrize("zeros", [0.0, 0.3])
@pytest.mark.parametrize("name", COMPARED)
def test_divergence_equals_enumeration(name, zeros):
    check = queries.check_divergence(trial_of(built_from(spec(name), zeros=zeros)), seed=8, zeros=zeros)
    assert check.cases
    assert not check.differs, check


def test_divergence_is_zero_to_itself_and_never_below_that_of_a_part():
    built = built_from(spec("factorial_hmm"))
    batch = trial_of(built).batch
    assert all(bool((value == 0).all()) for value in built.module.posterior(batch, "kl", built.module).values())
    other = copy.deepcopy(built.module)
    randomise(replace(built, module=other), torch.Generator().manual_seed(1))
    found = built.module.posterior(batch, "kl", other)
    together = found.pop("(joint)")
    for each in found.values():
        assert bool((each >= -1e-12).all())
        assert bool((together[:, None] >= each - 1e-12).all())


def test_divergence_is_infinite_where_the_other_model_excludes_what_may_be():
    built = built_from(spec("hmm"))
    other = copy.deepcopy(built.module)
    other.init = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    batch = {"x": torch.zeros(2, 3, dtype=torch.long), "x_len": torch.tensor([3, 0])}
    assert built.module.posterior(batch, "kl", other)["(joint)"].tolist() == [torch.inf, 0.0]
    assert bool(other.posterior(batch, "kl", built.module)["(joint)"].isfinite().all())


def test_models_that_sum_in_another_order_are_not_compared():
    built, other = built_from(spec("hmm")), built_from(spec("hmm2"))
    with pytest.raises(ValueError, match="sum in the same order"):
        built.module.posterior(trial_of(built).batch, "kl", other.module)
    with pytest.raises(ValueError, match="sum in the same order"):
        built.module.posterior(trial_of(built).batch, "kl")
