"""Batches in which no row has an element of any ragged plate, (B, 0): of random models, and of specs of each kind of sum."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_laws import RANDOM, ROWS, agrees

from vispec.source import Source
from vispec.verify import checks
from vispec.verify.build import build, randomise
from vispec.verify.data import random_batch
from vispec.verify.generate import spec_texts
from vispec.verify.trial import Trial, finite_unknowns

SPECS = Path(__file__).parents[1] / "specs"
NAMED = ("hmm", "hmm2", "ibm1", "bits", "rationale", "induced_dependencies", "deep_markov")


def without_elements(name: str, text: str, seed: int) -> Trial:
    built = build(Source(f"{name}.vispec", text), {})
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    return Trial(built, random_batch(built.model, built.sizes, ROWS, generator, longest=0, shortest=0), ROWS)


def asked(trial: Trial) -> None:
    """The module has a value, a gradient, a start, and an answer to each question."""
    module: Any = trial.built.module
    batch = trial.batch
    value = module.log_prob(batch)
    assert value.shape == (ROWS,)
    assert not value.isnan().any()
    loss = module.loss(batch, 5)
    if loss.requires_grad:
        loss.backward()
    if hasattr(module, "posterior"):
        for query in ("marginals", "mode", "kbest(2)", "sample", "entropy")[: 5 if finite_unknowns(trial.built) else 1]:
            module.posterior(batch, query=query)
    if hasattr(module, "initialise"):
        module.initialise(batch)
        assert all(torch.isfinite(p).all() for p in module.parameters())
    ragged = [plate for plate in trial.built.model.plates if plate.ragged]
    module.sample(ROWS, batch, {plate.name: batch[plate.length_key] for plate in ragged})
    for rule in ("mean", "mode", "sample"):
        module.predict(batch, rule, 2)


@settings(RANDOM, max_examples=30)
@given(text=spec_texts(), seed=st.integers(0, 2**20))
def test_random_models(text: str, seed: int) -> None:
    assume("given a" not in text)  # an index has nothing to point at
    trial = without_elements("random", text, seed)
    assume(any(plate.ragged for plate in trial.built.model.plates))
    agrees(checks.check_log_prob(trial))
    asked(trial)


@pytest.mark.parametrize("name", NAMED)
def test_specs(name: str) -> None:
    asked(without_elements(name, (SPECS / f"{name}.vispec").read_text(), 0))


@pytest.mark.parametrize("lengths", [(2, 0), (0, 2), (0, 0)])
def test_a_row_without_elements_has_a_gradient_where_its_length_divides(lengths: tuple[int, int]) -> None:
    """i / |x| - j / |y| of a sentence of which either side may be empty, beside one that is whole."""
    trial = without_elements("ibm2", (SPECS / "ibm2.vispec").read_text(), 0)
    words, (y_len, x_len) = torch.tensor([[0, 1], [1, 0]]), lengths
    batch = {"y": words, "y_len": torch.tensor([2, y_len]), "x": words, "x_len": torch.tensor([2, x_len])}
    module: Any = trial.built.module
    alone = module.log_prob({name: each[:1] for name, each in batch.items()})
    found = module.log_prob(batch)
    torch.testing.assert_close(found[:1], alone)
    assert found[1] == (-torch.inf if x_len and not y_len else 0)
    wanted, ours = (torch.autograd.grad(each[0], [*module.parameters()]) for each in (alone, found))
    torch.testing.assert_close(ours, wanted)
