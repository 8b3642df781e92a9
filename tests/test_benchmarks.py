"""Every program of the benchmarks computes what its float64 reference does, at tiny sizes; the emitted module among them."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import beside_jax, uci
from benchmarks.programs import WORKLOADS, factorial, hmm, ibm1, language, mixed, mixture, rationale, topics, vae
from benchmarks.workload import Workload, contender, errors

TINY: dict[str, Callable[[], Workload]] = {
    "mixture": lambda: mixture.workload(rows=7, dims=3, components=4),
    "ibm1": lambda: ibm1.workload(pairs=3, words=5, types=13, embed=64, hidden=128),
    "vae": lambda: vae.workload(rows=5, pixels=784, hidden=400, code=3),
    "iwae": lambda: vae.weighted(rows=5, pixels=784, hidden=400, code=3),
    "hmm": lambda: hmm.workload(rows=3, steps=9, states=4, types=11),
    "language": lambda: language.workload(rows=3, words=5, types=11, hidden=4),
    "rationale": lambda: rationale.workload(rows=3, words=5, types=11),
    "mixed": lambda: mixed.workload(rows=6, dims=5, code=3, classes=4),
    "factorial": lambda: factorial.workload(rows=3, steps=7, states=3, dims=4),
    "topics": lambda: topics.workload(documents=4, words=9, types=13, topics=5),
}


@pytest.mark.parametrize("name", TINY)
def test_programs_agree_with_the_reference(name: str) -> None:
    workload = TINY[name]()
    for program in workload.names:
        value, gradient = errors(workload, contender(workload, program))
        assert value < 1e-5, program
        assert gradient < 1e-4, program


def test_every_workload_is_checked_and_has_a_baseline() -> None:
    assert {name.split("-")[0] for name in WORKLOADS} == set(TINY)
    assert all("hand" in make().programs for make in TINY.values())


def test_uci_splits_and_scores(tmp_path: Path) -> None:
    """A table that is linear up to noise: least squares scores what it does on raw columns; a short fit beats the mean."""
    rng = np.random.default_rng(0)
    features = rng.normal(5, 3, (400, 2))
    target = features @ np.array([1.5, -2.0]) + 7 + 2 * rng.normal(size=400)
    np.savetxt(tmp_path / "data.txt", np.column_stack([target, features]))
    parts = [list(range(40)), list(range(200, 240))]
    (tmp_path / "splits.json").write_text(json.dumps({"feature_columns": [1, 2], "target_column": 0, "test": parts}))
    found = dict(uci.splits(tmp_path, None))
    assert [number for number, _ in uci.splits(tmp_path, [1])] == [1]
    for number, split in found.items():
        assert split.train["y"].shape == (360, 2)
        np.testing.assert_allclose(split.train["x"].std(), 1.0)
        unscaled = split.test["x"] * split.scale
        np.testing.assert_allclose(unscaled - unscaled.mean(), target[parts[number]] - target[parts[number]].mean())
    design, train = np.column_stack([features, np.ones(400)]), np.delete(np.arange(400), parts[0])
    residuals = np.square(target - design @ np.linalg.lstsq(design[train], target[train], rcond=None)[0])
    variance = residuals[train].mean()
    expected = -0.5 * (residuals[parts[0]].mean() / variance + math.log(2 * math.pi * variance))
    np.testing.assert_allclose(uci.least_squares(found[0]), expected)
    without_features = -0.5 * (found[0].test["x"] ** 2 + math.log(2 * math.pi)).mean() - math.log(found[0].scale)
    assert uci.posterior_predictive(found[0], 250, 100) > without_features + 0.5


@pytest.mark.parametrize("name", beside_jax.all_series())
def test_what_grows_beside_jax(name: str) -> None:
    """Its first size, and what the plan says of it; JAX is not asked."""
    series = beside_jax.all_series()[name]
    assert name in beside_jax.IN_JAX
    assert math.isfinite(beside_jax.step_of(name, series.values[0], "vispec")())
    sizes = [beside_jax.kept(series, value) for value in series.values]
    assert 0 < sizes[0] <= sizes[-1]
