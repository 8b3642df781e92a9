"""`predict` and `sample` of sequences that end by themselves: no answer is needed, and none is looked at."""

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

import vispec
from vispec.answers.questions import is_decision
from vispec.cli.main import main

SPEC = """
vocab V(end=true)
net say(y: real, prefix: token[V]*) -> simplex[V] = lstm(embed=8, hidden=8, init=y)
plate n:
    given y : real
    chain i:
        observed x : token[V] ~ Categorical(say(y, x[<i]))
"""
TAGGED = """
vocab V(end=true)
size K = 2
param first : simplex[K]
plate k[K]:
    param next : simplex[K]
    param emit : simplex[V]
plate n:
    chain i:
        latent c : index[k] ~ Categorical(first) then Categorical(next[c[i-1]])
        observed x : token[V] ~ Categorical(emit[c])
"""
ROWS = [{"y": 1 if i % 2 else -1, "x": list("abcd" if i % 2 else "cd")} for i in range(40)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> vispec.Run:
    folder = tmp_path_factory.mktemp("decoding")
    return vispec.load(SPEC).fit(ROWS, out=folder / "run", quiet=True, verify=False, epochs=150, lr=0.02)


@pytest.mark.parametrize(
    "rule", [None, "mode", "greedy", "beam", "beam(3)", "beam(width=4, length_penalty=1)", "sample(temperature=0.01)"]
)
def test_the_answer_is_not_needed_and_its_length_not_read(run: vispec.Run, rule: str | None) -> None:
    expected = [list("abcd"), list("cd")]
    assert [row["x"] for row in run.predict([{"y": 1}, {"y": -1}], rule)] == expected
    seen = [{"y": 1, "x": ["a"]}, {"y": -1, "x": list("dddddd")}]
    assert [row["x"] for row in run.predict(seen, rule)] == expected
    assert [row["x"] for row in run.predict(seen, rule, target="x")] == expected


def test_several_with_their_scores(run: vispec.Run) -> None:
    (row,) = run.predict([{"y": 1}], "beam(5, n=3)", score=True)
    assert row["x"][0] == list("abcd")
    assert row["log_prob"] == sorted(row["log_prob"], reverse=True)
    told = run.pointwise([{"y": 1, "x": x} for x in row["x"]])
    assert row["log_prob"] == pytest.approx(told.tolist(), abs=1e-4)
    drawn = run.predict([{"y": -1}], "sample(200)")[0]["x"]
    assert Counter(map(tuple, drawn)).most_common(1)[0][0] == ("c", "d")


def test_samples_end_by_their_end(run: vispec.Run) -> None:
    drawn = Counter(tuple(row["x"]) for row in run.sample(300, [{"y": 1}, {"y": -1}]))
    assert drawn["a", "b", "c", "d"] > 110
    assert drawn["c", "d"] > 110


def call(*words: object) -> tuple[int, str, str]:
    found = CliRunner().invoke(main, [str(word) for word in words])
    return found.exit_code, found.stdout, found.stderr


@pytest.mark.parametrize("rule", ["mbr", "mbr(15)", "mbr(samples=15, utility=chrf)"])
def test_the_draw_of_least_risk(run: vispec.Run, rule: str) -> None:
    pytest.importorskip("sacrebleu")
    assert [row["x"] for row in run.predict([{"y": 1}, {"y": -1}], rule)] == [list("abcd"), list("cd")]
    (row,) = run.predict([{"y": 1}], rule, score=True)
    assert row["log_prob"] == pytest.approx(float(run.pointwise([{"y": 1, "x": row["x"]}])[0]), abs=1e-4)


def test_at_the_terminal(run: vispec.Run, tmp_path: Path) -> None:
    data = tmp_path / "new.jsonl"
    data.write_text('{"y": 1}\n{"y": -1}\n', encoding="utf-8")
    code, out, _ = call("predict", run.folder, data, "--rule", "beam(5, n=2)", "--score", "--jsonl")
    assert code == 0
    assert [len(json.loads(line)["log_prob"]) for line in out.splitlines()] == [2, 2]
    code, out, told = call("predict", run.folder, data, "--max-length", "2")
    assert (code, out.split()) == (0, ["1", "x:", "a", "b", "2", "x:", "c", "d"])
    assert "2 sequences were given up at their longest" in told
    assert call("predict", run.folder, data, "--max-length", "|y| + 1")[0] == 2
    assert call("predict", run.folder, data, "--max-length", "x")[0] == 2
    assert call("predict", run.folder, data, "--rule", "beam(n=7)")[0] == 2


def test_lengths_of_what_is_given_bound_the_answer(tmp_path: Path) -> None:
    spec = SPEC.replace("(y: real,", "(y: token[W]*,").replace(
        "lstm(embed=8, hidden=8, init=y)", "lstm(embed=8, hidden=8) |> attend"
    )
    spec = "vocab W\n" + spec.replace("    given y : real", "    plate j:\n        given y : token[W]").replace(
        "(y, x", "(y[*], x"
    )
    rows = [{"y": list("pq" if i % 2 else "p"), "x": list("ab")} for i in range(10)]
    found = vispec.load(spec).fit(rows, out=tmp_path / "run", quiet=True, verify=False, epochs=1)
    told = found.predict([{"y": ["p"]}, {"y": list("pqpq")}], "sample(n=30, temperature=20)", max_length="2*|y| + 1")
    assert [max(map(len, row["x"])) for row in told] == [3, 9]


def test_a_latent_in_the_chain_leaves_greedy_and_draws(tmp_path: Path) -> None:
    rows = [{"x": list("ab")}, {"x": list("ba")}]
    found = vispec.load(TAGGED).fit(rows, out=tmp_path / "run", quiet=True, verify=False, epochs=1, optimizer="adam")
    assert all(isinstance(row["x"], list) for row in found.predict(rows, "greedy"))
    assert [len(row["x"]) for row in found.predict(rows, "sample(3)")] == [3, 3]
    with pytest.raises(vispec.RunError, match="greedy and sample are"):
        found.predict(rows, "beam")


@pytest.mark.parametrize(
    "text",
    [
        "beam(0)",
        "beam(width=-1)",
        "beam(a=1)",
        "beam(5, 6)",
        "sample(top_p=0)",
        "beam(5, width=5)",
        "mean(2)",
        "mbr(utility=f1)",
        "mbr(0)",
    ],
)
def test_what_is_no_decision(text: str) -> None:
    assert not is_decision(text)


def test_other_models_have_no_beams(tmp_path: Path) -> None:
    (tmp_path / "m.vispec").write_text("plate n:\n    observed x : real ~ Normal(0, 1)\n", encoding="utf-8")
    (tmp_path / "d.csv").write_text("x\n1\n", encoding="utf-8")
    for words in (("--rule", "beam"), ("--score",), ("--rule", "sample(temperature=2)")):
        code, _, told = call("predict", tmp_path / "m.vispec", tmp_path / "d.csv", *words)
        assert code == 2
        assert "for sequences that end by a symbol of their own" in told
