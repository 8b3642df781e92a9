"""Parses in data: text in brackets, what is wrong with it, and models that are fitted to it and predict it."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.source import Source
from vispec.train.data.encoding.brackets import BrokenError, read_brackets
from vispec.verify.build import build
from vispec.verify.data import random_batch

SPANS = """\
size L = 2
plate p[L]:
    param emit : simplex[3]
net score(words: real*) -> (first: real[L, 2]*, last: real[L, 2]*) = linear(3)
plate row:
    plate i:
        given y : real
    latent t : parse[i, L] ~ SpanTree(score(y[*]))
    plate i:
        observed x : category[3] ~ Categorical(emit[t])
"""
PARSER = """\
vocab V
vocab L(unknown=false)
net score(words: token[V]*) -> (first: real[L, 4]*, last: real[L, 4]*) = embed(4) |> linear(4)
plate row:
    plate i:
        given y : token[V]
    observed t : parse[i, L] ~ SpanTree(score(y[*]))
"""
GRAMMAR = """\
size NT = 2
size PT = 2
param root : simplex[NT]
plate a[NT]:
    param rule : real[NT + PT, NT + PT]
plate p[PT]:
    param emit : simplex[3]
plate row:
    observed t : parse[i, NT, PT] ~ Grammar(root, rule[*])
    plate i:
        observed x : category[3] ~ Categorical(emit[t])
"""
MODELS = {
    "latent": SPANS,
    "partial": SPANS.replace("latent t", "partial t"),
    "observed": SPANS.replace("latent t", "observed t"),
    "observed alone": SPANS.replace("latent t", "observed t")
    .partition("    plate i:\n        observed")[0]
    .replace("plate p[L]:\n    param emit : simplex[3]\n", ""),
    "partial, by a grammar": GRAMMAR.replace("observed t", "partial t"),
    "observed, by a grammar": GRAMMAR,
    "fixed size": SPANS.replace("plate i:", "plate i[3]:").replace("latent t", "partial t"),
}


@pytest.mark.parametrize("name", MODELS)
def test_verified(tmp_path: Path, name: str):
    (tmp_path / "s.vispec").write_text(MODELS[name])
    found = CliRunner().invoke(main, ["verify", str(tmp_path / "s.vispec")])
    assert found.exit_code == 0, found.output
    assert " 0 differ" in found.output


@pytest.mark.parametrize(
    ("old", "new", "code", "word"),
    [
        ("parse[i, L]", "parse[i, L, L]", "V410", "`SpanTree` is a law on `parse[i, L]`"),
        ("parse[i, L]", "parse[i]", "V302", "two arguments"),
        ("first: real[L, 2]*", "first: real[3, 2]*", "V409", "`real[L, H]*`"),
        ("last: real[L, 2]*", "last: real[L, 3]*", "V409", "differ in length"),
        (
            "first: real[L, 2]*, last: real[L, 2]*) = linear(3)",
            "first: real[L, 2], last: real[L, 2]) = mean",
            "V409",
            "along `i`",
        ),
        ("SpanTree(score(y[*]))", "Uniform()", "V410", "SpanTree"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, code: str, word: str):
    (tmp_path / "s.vispec").write_text(SPANS.replace(old, new))
    found = CliRunner().invoke(main, ["check", str(tmp_path / "s.vispec")])
    assert code in found.output
    assert word in " ".join(found.output.split())
    assert "Traceback" not in found.output


def test_reads_brackets():
    found = read_brackets("(S (NP (D the) (N cat)) (VP sat))", whole=True)
    assert found.own == ["D", "N", "VP"]
    assert found.phrases == {0: (0, 1, "NP"), 1: (0, 2, "S")}
    found = read_brackets("( (S (_ a b c) (NP (N d) e)))", whole=False)
    assert found.own == [None, None, None, "N", None]
    assert found.phrases == {0: (0, 2, None), 3: (3, 4, "NP"), 2: (0, 4, "S")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(S (A a) (B b)", "1 bracket is never closed"),
        ("(S (A a) (B b)))", "stands behind"),
        (") (", "none has opened"),
        ("a b", "stands in no bracket"),
        ("", "no bracket"),
        ("(S (A a) (B) )", "no word stands in `(B)`"),
        ("(S (A a) (B b) (C c))", "`S` has 3 below it"),
        ("(S (S (A a) (B b)))", "`S` stands over one bracket alone"),
        ("(S a (B b))", "the word `a` has no label"),
        ("(_ (A a) (B b))", "the bracket over `a b` has no label"),
    ],
)
def test_broken_brackets(text: str, says: str):
    with pytest.raises(BrokenError) as error:
        read_brackets(text, whole=True)
    assert says in str(error.value)


def vispec(*arguments: str, exit_code: int = 0) -> str:
    found = CliRunner().invoke(main, [*arguments])
    assert found.exit_code == exit_code, found.output
    return found.output if exit_code else found.stdout


def fitted(tmp_path: Path, spec: str, rows: list[dict[str, object]], *more: str) -> tuple[str, str]:
    (tmp_path / "s.vispec").write_text(spec)
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run, data = str(tmp_path / "run"), str(tmp_path / "d.jsonl")
    steps = ("--set", "optimizer=adam(lr=0.3)", "--epochs", "15", "--threads", "1", "--no-verify", "--out", run)
    vispec("fit", str(tmp_path / "s.vispec"), data, *steps, *more)
    return run, data


ROWS = [
    {"y": "the cat sat", "t": "(S (NP (D the) (N cat)) (VP sat))"},
    {"y": "a dog", "t": "(NP (D a) (N dog))"},
    {"y": "it", "t": "(NP it)"},
]


def test_observed(tmp_path: Path):
    """Trees that are learnt are predicted, by name, in brackets and as nodes."""
    run, data = fitted(tmp_path, PARSER, ROWS, "--epochs", "150")
    text = vispec("predict", run, data)
    assert all(str(row["t"]) in text for row in ROWS)
    first = json.loads(vispec("predict", run, data, "--jsonl").splitlines()[0])
    assert first["t"] == [[0, 2, "S"], [0, 1, "NP"], [0, 0, "D"], [1, 1, "N"], [2, 2, "VP"]]


def test_partial(tmp_path: Path):
    """Brackets that are known are kept; a row may have none."""
    rows = [
        {"y": "the cat sat", "t": "(S (A the) (B cat sat))"},
        {"y": "a dog sat", "t": None},
        {"y": "a b c", "t": "(S a b c)"},
    ]
    run, data = fitted(tmp_path, PARSER.replace("observed t", "partial t"), rows)
    for rule in ("mode", "sample"):
        first = json.loads(vispec("predict", run, data, "--rule", rule, "--jsonl").splitlines()[0])["t"]
        assert [1, 2, "B"] in first
        assert [0, 2, "S"] in first
        assert [0, 0, "A"] in first
    marginal = json.loads(vispec("posterior", run, data, "--jsonl").splitlines()[0])["t"][0]
    assert max(marginal) == pytest.approx(1)
    assert "(S (" in vispec("posterior", run, data, "--query", "tree(sample)")
    best = json.loads(vispec("posterior", run, data, "--query", "kbest(3)", "--jsonl").splitlines()[0])["kbest(3)"]
    scores = [each["(log_joint)"] for each in best]
    assert scores == sorted(scores, reverse=True)
    assert len({str(each["t"]) for each in best}) == 3
    assert best[0]["t"] == json.loads(vispec("posterior", run, data, "--query", "tree", "--jsonl").splitlines()[0])["t"]
    assert vispec("posterior", run, data, "--query", "kbest(2)").count("(S (") >= 6


def test_parses_in_a_plate(tmp_path: Path):
    """Several in a row are told each by itself."""
    spec = PARSER.replace("observed t", "partial t").replace("plate row:\n    plate i", "plate row:\n  plate s:\n    plate i")
    built = build(Source("s.vispec", spec), {})
    batch = random_batch(built.model, built.sizes, 3, torch.Generator().manual_seed(1))
    found = built.module.predict(batch, "mode")["t"]
    outer, inner = (built.model.plate[name].length_key for name in ("s", "i"))
    for row, count in enumerate(batch[outer].tolist()):
        for at in range(count):
            alone = {outer: torch.tensor([1])}
            alone |= {name: batch[name][row : row + 1, at : at + 1] for name in (inner, "y", "t", "t_observed")}
            length = int(batch[inner][row, at])
            assert built.module.predict(alone, "mode")["t"][0, 0, :length].tolist() == found[row, at, :length].tolist()


def test_numbers_as_labels(tmp_path: Path):
    """By a grammar, preterminals are numbered after the symbols, as in what is printed."""
    rows = [{"x": [0, 1, 2], "t": "(0 (1 (2 x) (3 y)) (2 z))"}, {"x": [1, 2], "t": "(1 (2 y) (3 z))"}]
    run, data = fitted(tmp_path, GRAMMAR.replace("observed t", "partial t"), rows)
    assert "(0 (1 (2 0) (3 1)) (2 2))" in vispec("posterior", run, data, "--query", "tree")
    rows[1]["t"] = "(2 (2 y) (1 z))"
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = vispec("eval", run, data, exit_code=1)
    assert "`1` is no label of 2..3" in said
    assert "`2` is no label of 0..1" in said


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("(S (D the) (N cat))", "D115", "2 elements along plate `i`"),
        ("(S (D the) (N cat)", "D143", "never closed"),
        ("(S (D the) (N cat) (V sat))", "D143", "has 3 below it"),
    ],
)
def test_data_errors(tmp_path: Path, text: str, code: str, says: str):
    (tmp_path / "s.vispec").write_text(PARSER)
    (tmp_path / "d.jsonl").write_text(json.dumps({"y": "the cat sat", "t": text}) + "\n")
    said = vispec("fit", str(tmp_path / "s.vispec"), str(tmp_path / "d.jsonl"), "--out", str(tmp_path / "run"), exit_code=1)
    assert code in said
    assert says in said
    assert ":1:" in said


def test_a_label_that_is_new(tmp_path: Path):
    run, data = fitted(tmp_path, PARSER, ROWS)
    (tmp_path / "d.jsonl").write_text(json.dumps({"y": "a dog", "t": "(PP (D a) (N dog))"}) + "\n")
    assert "`PP` is no label of vocabulary L" in vispec("eval", run, data, exit_code=1)


def test_text_files_and_csv(tmp_path: Path):
    (tmp_path / "s.vispec").write_text(PARSER)
    (tmp_path / "y.txt").write_text("the cat sat\na dog\n")
    (tmp_path / "t.txt").write_text("(S (NP (D the) (N cat)) (VP sat))\n(NP (D a) (N dog))\n")
    (tmp_path / "d.csv").write_text("y,t\nthe cat sat,(S (NP (D the) (N cat)) (VP sat))\na dog,(NP (D a) (N dog))\n")
    for data in ([f"y={tmp_path / 'y.txt'}", f"t={tmp_path / 't.txt'}"], [str(tmp_path / "d.csv")]):
        steps = ("--set", "optimizer=adam", "--epochs", "1", "--no-verify", "--out", str(tmp_path / f"run{len(data)}"))
        vispec("fit", str(tmp_path / "s.vispec"), *data, *steps)
