"""Models whose default fits used to end without a word far below the maximum; galaxies are in test_natural_units.py."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fitting import fitted, log_prob, vispec

HIERARCHY = """size C = 2
size K = 3
vocab V
param prior : simplex[C]
plate class[C]:
    param mix : simplex[K]
plate k[K]:
    param phi : simplex[V]
plate doc:
    partial kind : index[class] ~ Categorical(prior)
    plate n:
        latent   topic : index[k] ~ Categorical(mix[kind])
        observed w     : token[V] ~ Categorical(phi[topic])
"""


def documents() -> tuple[list, list[list[str]], list[int], float]:
    """Labels, one in ten kept; words; all labels; and the log-probability of what is shown, at the truth."""
    draws = np.random.default_rng(0)
    mix = np.array([[0.85, 0.1, 0.05], [0.05, 0.15, 0.8]])
    phi = draws.dirichlet([0.1] * 8, 3)
    words = mix @ phi  # of a class
    kinds, texts, total = draws.integers(0, 2, 40), [], 0.0
    for d, kind in enumerate(kinds):
        text = draws.choice(8, 15, p=words[kind])
        each = np.log(0.5) + np.log(words[:, text]).sum(1)
        total += each[kind] if d % 10 == 0 else np.logaddexp(*each)
        texts.append([f"w{word:02d}" for word in text])
    return [int(kind) if d % 10 == 0 else None for d, kind in enumerate(kinds)], texts, kinds.tolist(), float(total)


def test_a_hierarchical_mixture_with_one_label_in_ten(tmp_path: Path) -> None:
    """The fit is above the truth, as a maximum is, and labels nearly every document rightly."""
    labels, texts, kinds, truth = documents()
    told, _ = fitted(tmp_path, HIERARCHY, {"kind": np.array(labels, object), "w": np.array(texts)}, "--restarts", "3")
    assert log_prob(told) > truth
    rows = [json.loads(line) for line in vispec("predict", tmp_path / "run", tmp_path / "data.jsonl", "--jsonl").splitlines()]
    assert np.mean([row["kind"] == kind for row, kind in zip(rows, kinds, strict=True)]) > 0.95


def test_what_stops_at_a_limit_says_so_and_how_far_it_has_to_go(tmp_path: Path) -> None:
    """Of second-order steps in nats; of steps along gradients, by how fast the objective rises still."""
    labels, texts, _, _ = documents()
    columns = {"kind": np.array(labels, object), "w": np.array(texts)}
    told, _ = fitted(tmp_path, HIERARCHY, columns, "--epochs", "1")
    assert told["converged"] is False
    assert told["text"].startswith("not converged: ")
    (tmp_path / "adam").mkdir()
    told, _ = fitted(tmp_path / "adam", HIERARCHY, columns, "--set", "optimizer=adam(0.001)", "--epochs", "20")
    assert told["converged"] is False
    assert "not converged: still rising by" in told["text"]
    assert told["decrement"] is None


@pytest.mark.parametrize("optimiser", ["auto", "adam(0.05)"])
def test_a_fit_that_has_arrived_says_so(tmp_path: Path, optimiser: str) -> None:
    text = "param m : real\nplate n:\n    observed x : real ~ Normal(m, 1)\n"
    told, found = fitted(tmp_path, text, {"x": [1.0, 2.0, 6.0]}, "--set", f"optimizer={optimiser}")
    assert told["converged"] is True
    assert found["m"] == pytest.approx(3, abs=1e-3)
    assert told["train"]["log_prob"] == pytest.approx(-1.5 * math.log(2 * math.pi) - 7, abs=1e-3)
