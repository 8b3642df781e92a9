"""Scores of models whose rows share latents: what is told of them, and that its numbers are what it says they are."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

SPEC = """latent p : unit ~ Beta(2, 3)

plate n:
    observed y : bit ~ Bernoulli(p)

fit:
    decay : linear
"""
ONES, ROWS = 12, 40
A, B = 2 + ONES, 3 + ROWS - ONES  # the posterior


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "bent.vispec").write_text(SPEC)
    (folder / "bent.csv").write_text("y\n" + "1\n" * ONES + "0\n" * (ROWS - ONES))
    options = ["--epochs", "400", "--lr", "0.05", "--out", str(folder / "run")]
    printed = vispec("fit", folder / "bent.vispec", folder / "bent.csv", *options)
    return SimpleNamespace(folder=folder / "run", data=folder / "bent.csv", printed=printed)


def vispec(*args: str | Path) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stdout


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def test_the_automatic_guide_finds_the_posterior(run: SimpleNamespace) -> None:
    first = json.loads(vispec("posterior", run.folder, run.data, "--jsonl", "--query", "marginals").splitlines()[0])
    found = first["(shared)"]["p"]
    total = found["concentration1"] + found["concentration0"]
    mean, deviation = A / (A + B), math.sqrt(A * B / (A + B + 1)) / (A + B)
    assert found["concentration1"] / total == pytest.approx(mean, abs=0.2 * deviation)
    assert total == pytest.approx(A + B, rel=0.25)


def test_a_bound_on_the_evidence_is_below_it_and_near(run: SimpleNamespace) -> None:
    evidence = log_beta(A, B) - log_beta(2, 3)
    score = json.loads(vispec("eval", run.folder, run.data, "--json"))
    assert score["bound"] == "expected"
    assert score["evidence_bound"] == pytest.approx(score["log_prob"] - score["diagnostics"]["shared_kl"], abs=1e-6)
    assert score["evidence_bound"] == pytest.approx(evidence, abs=0.3)
    assert score["log_prob"] > evidence + 0.5  # given what the rows share, they are more likely than together
    assert "subtracted for the divergence of what rows share" in " ".join(run.printed.split())


def test_rows_of_a_predictive_estimate_are_each_likely_under_the_posterior(run: SimpleNamespace) -> None:
    score = json.loads(vispec("eval", run.folder, run.data, "--json", "--estimator", "iwae(2000)"))
    each = ONES * math.log(A / (A + B)) + (ROWS - ONES) * math.log(B / (A + B))
    assert score["bound"] == "predictive"
    assert score["log_prob"] == pytest.approx(each, abs=0.3)
    assert abs(score["log_prob"] - each) < 4 * score["standard_error"] + 0.2
