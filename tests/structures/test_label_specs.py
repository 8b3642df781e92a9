"""Labels as specs: against all labellings by `verify`, fitted and predicted from files, and what is refused."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

SPEC = """\
vocab WORD
size TAG = 2
param move : real[TAG, TAG]
plate k[TAG]:
    param emit : simplex[WORD]
net score(words: token[WORD]*) -> real[TAG]* = embed(3) |> linear(3)
plate sentence:
    plate i:
        given y : token[WORD]
    latent tag : labels[i, TAG] ~ LinearChain(score(y[*]), move)
    plate i:
        observed x : token[WORD] ~ Categorical(emit[tag])
"""
TAGGER = """\
vocab WORD
vocab TAG(unknown=false)
param move : real[TAG, TAG]
net score(words: token[WORD]*) -> real[TAG]* = embed(3) |> linear(3)
plate sentence:
    plate i:
        given y : token[WORD]
    observed tag : labels[i, TAG] ~ LinearChain(score(y[*]), move)
"""
HIDDEN_BESIDE = SPEC.replace("    plate i:\n        given", "    chain i:\n        given").replace(
    "    plate i:\n        observed",
    "    chain i:\n        latent z : category[TAG] ~ Categorical(softmax(move[1])) then Categorical(softmax(move[z[i-1]]))\n"
    "        observed",
)
BY_ROW = SPEC.replace("param move : real[TAG, TAG]", "net moves(f: real[2]) -> real[TAG, TAG] = linear(2)").replace(
    "    plate i:\n        given", "    given f : real[2]\n    plate i:\n        given"
)
MODELS = {
    "latent": SPEC,
    "partial": SPEC.replace("latent tag", "partial tag"),
    "observed": TAGGER,
    "some tags": TAGGER.replace("observed", "partial"),
    "moves by row": BY_ROW.replace(", move)", ", moves(f))"),
    "beside another chain": HIDDEN_BESIDE.replace("emit[tag]", "emit[tag]) if z == 0 else Categorical(emit[z]"),
    "two of each": SPEC.replace("plate sentence:\n", "plate who[2]:\n    param own : real\nplate sentence:\n")
    .replace("    latent tag", "    plate who:\n        latent tag")
    .replace(", move)", ", own * move)")
    .replace("emit[tag]", "emit[tag[0]]) if tag[0] == tag[1] else Categorical(emit[1]"),
    "drawn beside": SPEC.replace("plate sentence:\n", "plate sentence:\n    latent u : real ~ Normal(0, 1)\n").replace(
        ", move)", ", u * move)"
    )
    + "guide:\n    u ~ Normal(0.5, 1)\n",
}


def run(*arguments: str) -> str:
    found = CliRunner().invoke(main, [*arguments])
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.parametrize("name", MODELS)
def test_verified(name: str, tmp_path: Path) -> None:
    (tmp_path / "s.vispec").write_text(MODELS[name])
    assert " 0 differ, 0 not checked" in run("verify", str(tmp_path / "s.vispec"))


def test_fit_and_predict(tmp_path: Path) -> None:
    """Where words do not tell their tags, the tags around them do: the second of two is B after A and A after B."""
    (tmp_path / "tagger.vispec").write_text(TAGGER + "fit:\n    optimizer : adam(lr=0.1)\n    epochs : 60\n    batch : 4\n")
    rows = [{"y": ["a", "x", "x"], "tag": ["A", "B", "A"]}, {"y": ["b", "x"], "tag": ["B", "A"]}, {"y": ["b"], "tag": ["B"]}]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows * 4) + "\n")
    (tmp_path / "new.jsonl").write_text('{"y": ["b", "x", "x", "x"]}\n{"y": ["a"]}\n')
    out = str(tmp_path / "run")
    run("fit", str(tmp_path / "tagger.vispec"), str(tmp_path / "train.jsonl"), "--out", out)
    told = run("predict", out, str(tmp_path / "new.jsonl"), "--jsonl")
    assert [json.loads(line)["tag"] for line in told.splitlines()] == [["B", "A", "B", "A"], ["A"]]
    assert run("predict", out, str(tmp_path / "train.jsonl"), "--metric", "accuracy").split() == ["tag", "accuracy", "1"]


REFUSED = [
    ("TAG, TAG]", "TAG]", "V409"),
    ("-> real[TAG]*", "-> real[3]*", "V409"),
    ("LinearChain(score(y[*]), move)", "LinearChain(move, move)", "V409"),
    ("LinearChain(score(y[*]), move)", "LinearChain(score(y[*]))", "V406"),
    ("LinearChain(score(y[*]), move)", "Uniform()", "V410"),
    ("LinearChain(score(y[*]), move)", "Exactly(1)", "V702"),
    ("LinearChain(score(y[*]), move)", "LinearChain(score(y[*]), move) if |y| > 2 else LinearChain(score(y[*]), move)", "V702"),
    ("labels[i, TAG]", "category[TAG]", "V410"),
    ("labels[i, TAG]", "labels[i, TAG, 3]", "V302"),
    ("labels[i, TAG]", "labels[TAG, i]", "V303"),
    ("labels[i, TAG]", "labels[i, y]", "V103"),
    ("labels[i, TAG]", "labels[sentence, TAG]", "V307"),
    ("    latent tag", "    plate i:\n        latent tag", "V307"),
    ("token[WORD]*", "labels[i, TAG]", "V307"),
    ("    latent tag", "    let u : labels[i, TAG] = y[*]\n    latent tag", "V307"),
    ("emit[tag]", "emit[tag[i-1]]", "V206"),
    ("(emit[tag])\n", "(emit[tag])\n    observed n : real ~ Normal(1 if tag == 1 else 0, 1)\n", "V201"),
    ("(emit[tag])\n", "(emit[tag])\ninfer:\n    tag : score(samples=2)\n", "V706"),
    ("(emit[tag])\n", "(emit[tag])\nguide:\n    tag ~ LinearChain(score(y[*]), move)\n", "V702"),
]


@pytest.mark.parametrize(("old", "new", "code"), REFUSED)
def test_refused(tmp_path: Path, old: str, new: str, code: str) -> None:
    (tmp_path / "s.vispec").write_text(SPEC.replace(old, new, 1))
    found = CliRunner().invoke(main, ["check", str(tmp_path / "s.vispec")])
    assert f"error[{code}]" in found.output
    assert found.exit_code == 1


def test_labels_are_not_smoothed(tmp_path: Path) -> None:
    (tmp_path / "s.vispec").write_text(TAGGER + "fit:\n    label_smoothing : 0.1\n")
    assert "V714" in CliRunner().invoke(main, ["check", str(tmp_path / "s.vispec")]).output


def test_explained(tmp_path: Path) -> None:
    """The law is one over all labels, and the recursion has their scores."""
    (tmp_path / "s.vispec").write_text(SPEC)
    told = " ".join(run("explain", str(tmp_path / "s.vispec")).split())
    assert "tag[*] ∼ LinearChain(score(y[*]), move)" in told
    assert "p(tag, x | y) = p(tag[*] | y[*]) · ∏_i p(x[i] | tag[i])" in told
    assert "α(tag[i−1]) · exp(score(y[*])[i, tag[i]] + move[tag[i−1], tag[i]]) · p(x[i] | tag[i])" in told
    (tmp_path / "t.vispec").write_text(TAGGER)
    assert "p(tag | y) = LinearChain(tag[*] | score(y[*]), move)" in run("explain", str(tmp_path / "t.vispec"))
