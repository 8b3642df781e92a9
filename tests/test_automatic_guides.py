"""Automatic guides reach the posterior, or near it, in a fit that a user would wait for, on data that are not near 1."""

import csv
import json
import math
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

RATES = """param a : positive
param b : positive

plate n:
    given t  : count
    latent p : unit ~ Beta(a, b)
    observed y : count ~ Binomial(t, p)

fit:
    decay : linear
"""
SHARES = """size K = 4
latent p : simplex[K] ~ Dirichlet([1, 1, 1, 1])

plate n:
    observed y : category[K] ~ Categorical(p)

fit:
    decay : linear
"""
COUNTS = [50, 100, 150, 200]


def fit(folder: Path, spec: str, columns: dict[str, list], *options: str) -> None:
    (folder / "model.vispec").write_text(spec)
    with (folder / "data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
    vispec("fit", folder / "model.vispec", folder / "data.csv", "--out", folder / "run", *options)


def vispec(*args: str | Path) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stdout


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def test_a_net_from_counts_reaches_the_likelihood_of_rates(tmp_path: Path) -> None:
    draw = random.Random(0)
    trials = [draw.randint(100, 500) for _ in range(80)]
    hits = [sum(draw.random() < p for _ in range(t)) for t in trials for p in [draw.betavariate(2, 12)]]
    fit(tmp_path, RATES, {"t": trials, "y": hits}, "--epochs", "1500", "--lr", "0.02")
    data = tmp_path / "data.csv"
    score = json.loads(vispec("eval", tmp_path / "run", data, "--json", "--estimator", "iwae(1000)"))

    def exact(a: float, b: float) -> float:
        choose = [math.lgamma(t + 1) - math.lgamma(y + 1) - math.lgamma(t - y + 1) for t, y in zip(trials, hits, strict=True)]
        beta = [log_beta(a + y, b + t - y) - log_beta(a, b) for t, y in zip(trials, hits, strict=True)]
        return sum(choose) + sum(beta)

    best = max(exact(a / 10, b / 2) for a in range(5, 50) for b in range(5, 60))
    assert best - 8 < score["log_prob"] < best + 0.5
    assert score["diagnostics"]["effective_samples"] > 30


def test_a_dirichlet_finds_a_concentrated_posterior(tmp_path: Path) -> None:
    fit(
        tmp_path, SHARES, {"y": [k for k, count in enumerate(COUNTS) for _ in range(count)]}, "--epochs", "2500", "--lr", "0.02"
    )
    line = vispec("posterior", tmp_path / "run", tmp_path / "data.csv", "--jsonl", "--query", "marginals").splitlines()[0]
    found = json.loads(line)["(shared)"]["p"]["concentration"]
    total = sum(COUNTS) + 4
    assert sum(found) == pytest.approx(total, rel=0.25)
    for value, count in zip(found, COUNTS, strict=True):
        mean = (count + 1) / total
        assert value / sum(found) == pytest.approx(mean, abs=0.3 * math.sqrt(mean / total))
