"""A sequence of tokens with an end symbol generates its own length, and what stands beside it has as many elements."""

import json
import random

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

SPEC = """\
vocab V(end=true)
size K = 2
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param emit  : simplex[V]
plate n:
    chain t:
        latent   c : category[K] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed w : token[V] ~ Categorical(emit[c])
"""
STOP = 0.27


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, chance = tmp_path_factory.mktemp("ends"), random.Random(1)
    lines = []
    for _ in range(600):
        words = ["a"]
        while chance.random() > STOP:
            words.append(chance.choice("abc"))
        lines.append(" ".join(words))
    (folder / "m.vispec").write_text(SPEC)
    (folder / "d.txt").write_text("\n".join(lines) + "\n")
    words = [
        "fit",
        str(folder / "m.vispec"),
        str(folder / "d.txt"),
        "--threads",
        "1",
        "--restarts",
        "1",
        "--out",
        str(folder / "run"),
    ]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0, found.output
    return folder / "run"


def sampled(run, *options: str) -> list[dict]:
    found = CliRunner().invoke(main, ["sample", str(run), "-n", "2000", "--jsonl", *options])
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_lengths_are_those_of_the_data(run):
    """To draw a length from the data and cut there too would end each row twice."""
    rows = sampled(run)
    mean = sum(len(row["w"]) for row in rows) / len(rows)
    assert abs(mean - 1 / STOP) < 0.35
    assert max(len(row["w"]) for row in rows) > 12
    assert all(len(row["c"]) == len(row["w"]) + 1 for row in rows if len(row["w"]) < 50)


def test_a_length_that_is_asked_for_is_kept(run):
    assert all(len(row["c"]) == 5 and len(row["w"]) <= 5 for row in sampled(run, "--length", "t=5"))
