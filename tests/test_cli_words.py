"""`vispec words`: topics of a parameter, of a shared latent, and of nets of topic weights, by their most probable words."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

PARAMETER = """\
size K = 2
vocab V
param pi : simplex[K]
plate k[K]:
    param words : simplex[V]
plate doc:
    latent   c : index[k] ~ Categorical(pi)
    plate n:
        observed w : token[V] ~ Categorical(words[c])
"""
SHARED = """\
size K = 2
vocab V
plate k[K]:
    param strength : positive[V]
    latent words : simplex[V] ~ Dirichlet(1)
plate doc:
    given theta : simplex[K]
    plate n:
        latent   c : index[k] ~ Categorical(theta)
        observed w : token[V] ~ Categorical(words[c])
guide:
    words ~ Dirichlet(strength)
"""
NET = """\
size K = 2
vocab V
net words(theta: simplex[K]) -> simplex[V] = mlp([8])
plate doc:
    given theta : simplex[K]
    plate n:
        observed w : token[V] ~ Categorical(words(theta))
"""
VECTOR = """\
size K = 2
vocab V
net words(h: real[K]) -> simplex[V] = mlp([])
plate doc:
    given theta : simplex[K]
    let h = 3 * theta
    plate n:
        observed w : token[V] ~ Categorical(words(h))
"""
INDEX = """\
size K = 2
vocab V
net words(c: index[k]) -> simplex[V] = embed(4) |> mlp([8])
plate k[K]:
    param weight : real
plate doc:
    latent   c : index[k] ~ Categorical(softmax(weight[*]))
    plate n:
        observed w : token[V] ~ Categorical(words(c))
"""
ROWS = [
    {"theta": [0.98, 0.02], "w": ["sun", "moon", "sun", "star", "sun"]},
    {"theta": [0.02, 0.98], "w": ["bread", "salt", "bread", "bread", "oil"]},
]


@pytest.mark.parametrize("spec", [PARAMETER, SHARED, NET, VECTOR, INDEX], ids=["parameter", "shared", "net", "vector", "index"])
def test_two_topics_by_their_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.vispec").write_text(spec)
    rows = ROWS if "theta" in spec.split("observed")[0] else [{"w": row["w"]} for row in ROWS]
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 10))
    fitted = CliRunner().invoke(
        main, ["fit", "m.vispec", "d.jsonl", "--epochs", "40", "--batch", "20", "--lr", "0.3", "--out", "run"]
    )
    assert fitted.exit_code == 0, fitted.output
    told = CliRunner().invoke(main, ["words", "run", "--top", "2", "--json"])
    found = json.loads(told.output)
    assert all(len(topic) == 2 for topic in found["words"])
    documents = [[i for i, row in enumerate(ROWS) if set(topic) <= set(row["w"])] for topic in found["words"]]
    assert sorted(documents) == [[0], [1]]
    if spec == VECTOR:  # which tells what makes a difference, not what is frequent
        return
    assert sorted(topic[0] for topic in found["words"]) == ["bread", "sun"]
    text = CliRunner().invoke(main, ["words", "run", "--top", "1"]).output.split()
    assert {"bread", "sun", "words"} <= set(text)


def test_a_model_without_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.vispec").write_text("param m : real\nplate n:\n    observed x : real ~ Normal(m, 1)\n")
    Path("d.csv").write_text("x\n1.0\n2.0\n")
    assert CliRunner().invoke(main, ["fit", "m.vispec", "d.csv", "--epochs", "1", "--out", "run"]).exit_code == 0
    told = CliRunner().invoke(main, ["words", "run"])
    assert told.exit_code == 1
    assert "no distribution over words" in told.stderr
    assert "labels of an observed category[V]" in told.stderr


LABELLED = PARAMETER.replace("vocab V", "size V").replace("token[V]", "category[V]")
OF_NET = NET.replace("vocab V", "size V").replace("token[V]", "category[V]")
KNOWN = LABELLED.replace("category[V]", 'category["bread", "moon", "oil", "salt", "star", "sun"]').replace(
    "simplex[V]", "simplex[6]"
)


@pytest.mark.parametrize(
    ("spec", "numbers"), [(LABELLED, False), (LABELLED, True), (KNOWN.replace("size V\n", ""), False), (OF_NET, False)]
)
def test_topics_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, numbers: bool) -> None:
    """The same, where words are the labels of a category, which may be numbers."""
    monkeypatch.chdir(tmp_path)
    names = sorted({word for row in ROWS for word in row["w"]})
    rows = [{**row, "w": [names.index(word) if numbers else word for word in row["w"]]} for row in ROWS]
    if "theta" not in spec:
        rows = [{"w": row["w"]} for row in rows]
    Path("m.vispec").write_text(spec)
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 10))
    options = ["--no-verify", "--epochs", "40", "--batch", "20", "--lr", "0.3", "--out", "run", "--set", "optimizer=adam"]
    fitted = CliRunner().invoke(main, ["fit", "m.vispec", "d.jsonl", *options])
    assert fitted.exit_code == 0, fitted.output
    found = json.loads(CliRunner().invoke(main, ["words", "run", "--top", "1", "--json"]).output)
    best = [str(names.index(word)) for word in ("bread", "sun")] if numbers else ["bread", "sun"]
    assert sorted(topic[0] for topic in found["words"]) == best
    told = CliRunner().invoke(main, ["words", "run"])
    assert all(str(name) in told.output for name in (range(6) if numbers else names))
