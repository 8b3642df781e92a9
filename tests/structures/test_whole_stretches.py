"""Laws on whole stretches, words of a lexicon: against all ways to cut by `verify`, on data, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.compile import compile_spec
from vispec.source import Source
from vispec.train.data.encoding.stretches import words

SPEC = """\
vocab LETTER(chars)
vocab WORD
param lexicon : simplex[WORD]

plate line:
    plate i:
        given x : token[LETTER]
    chain s of i(longest=3):
        latent   d    : length      ~ Weight(exp(-|i|^1.6))
        observed word : token[WORD] ~ Categorical(lexicon) of x[*]
"""
LENGTH = "        latent   d    : length      ~ Weight(exp(-|i|^1.6))\n"
WHOLE = "        observed word : token[WORD] ~ Categorical(lexicon) of x[*]\n"
LEXICON = "param lexicon : simplex[WORD]\n"


def changed(*pairs: tuple[str, str]) -> str:
    text = SPEC
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


LABELLED = changed(
    (LEXICON, "param init : simplex[2]\nplate k[2]:\n    param lexicon : simplex[WORD]\n    param move : simplex[2]\n"),
    (LENGTH, "        latent c : index[k] ~ Categorical(init) then Categorical(move[c[s-1]])\n" + LENGTH),
    ("(lexicon)", "(lexicon[c])"),
)
SPECS = {
    "as written": SPEC,
    "no law of lengths": changed((LENGTH, "")),
    "one weight": changed(("exp(-|i|^1.6)", "0.3")),
    "a table of weights": changed(("exp(-|i|^1.6)", "heavy"), (LEXICON, LEXICON + "param heavy : positive[3]\n")),
    "a rate": changed(("exp(-|i|^1.6)", "exp(-rate * |i|)"), (LEXICON, LEXICON + "param rate : positive\n")),
    "probabilities, cut": changed(
        ("Weight(exp(-|i|^1.6))", "Categorical(p)"), (LEXICON, LEXICON + "param p : simplex[3]\n"), ("=3)", "=3, cut)")
    ),
    "labelled": LABELLED,
    "labelled, weights by label": LABELLED.replace("exp(-|i|^1.6)", "heavy[c]").replace(
        "    param move", "    param heavy : positive[3]\n    param move"
    ),
    "labelled, elements besides": LABELLED.replace("    param move", "    param emit : simplex[3]\n    param move")
    + "        plate i:\n            observed y : category[3] ~ Categorical(emit[c])\n",
    "several sequences, sized plate": changed(("    plate i:", "  plate doc:\n    plate i[3]:")),
}


@pytest.mark.parametrize("name", SPECS)
def test_verified(tmp_path: Path, name: str):
    (tmp_path / "s.vispec").write_text(SPECS[name])
    found = CliRunner().invoke(main, ["verify", str(tmp_path / "s.vispec")])
    assert found.exit_code == 0, found.output
    assert " 0 differ" in found.output


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("observed word", "latent word", "V323"),
        ("of x[*]", "of x", "V323"),
        ("of x[*]", "of y[*]", "V101"),
        ("of x[*]", "of lexicon[*]", "V323"),
        ("given x : token[LETTER]", "given x : real", "V323"),
        ("given x : token[LETTER]", "observed x : token[LETTER] ~ Uniform()", "V323"),
        ("vocab LETTER(chars)", "vocab LETTER(chars, end)", "V323"),
        ("word : token[WORD]", "word : category[4]", "V307"),
        ("Categorical(lexicon)", "Normal(0, 1)", "V410"),
        ("Categorical(lexicon) of", "Categorical(lexicon) then Categorical(lexicon) of", "V324"),
        (" of x[*]", "", "V323"),
        ("    chain s of i(longest=3):\n" + LENGTH + WHOLE, "    plate i:\n" + WHOLE.replace("  ob", "ob"), "V323"),
        ("exp(-|i|^1.6)", "-|i|", "V409"),
        ("exp(-|i|^1.6)", "exp(s)", "V323"),
        ("exp(-|i|^1.6)", "[1, 2]", "V409"),
        (WHOLE, WHOLE + "        plate i:\n            observed y : bit ~ Bernoulli(0.5 if word == 0 else 0.2)\n", "V323"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, code: str):
    (tmp_path / "s.vispec").write_text(changed((old, new)))
    found = CliRunner().invoke(main, ["check", str(tmp_path / "s.vispec")])
    assert found.exit_code == 1
    assert code in found.output
    assert "Traceback" not in found.output


def test_all_stretches_of_tokens():
    """Those from each token on by length, which do not run on into the next sequence."""
    found, at = words(["a", "b"], np.array([0, 1, 0, 1, 1], np.int32), np.array([3, 0, 2]), 3, "")
    told = [[found[i] if i >= 0 else None for i in row] for row in at.reshape(5, 3)]
    assert told == [["a", "ab", "aba"], ["b", "ba", None], ["a", None, None], ["b", "bb", None], ["b", None, None]]
    assert len({*found}) == len(found)
    assert words(["the", "cat"], np.array([0, 1], np.int32), np.array([2]), 4, " ")[0] == ["the", "cat", "the cat"]


def test_fit_and_queries(tmp_path: Path):
    """The words of a text without spaces; what is no stretch of the training data is the unknown word."""
    spec, data, run = tmp_path / "s.vispec", tmp_path / "d.txt", str(tmp_path / "run")
    spec.write_text(SPEC.replace("longest=3", "longest=6").replace("^1.6", "^1.2"))
    data.write_text("theboat\nboat\naboat\nthe\nboatthe\nthea\nboatboat\nthethe\n\n")

    def vispec(*arguments: str) -> str:
        found = CliRunner().invoke(main, [*arguments])
        assert found.exit_code == 0, found.output
        return found.stdout

    fitted = ("--epochs", "200", "--set", "optimizer=adam(lr=0.1)", "--threads", "1", "--out", run)
    vispec("fit", str(spec), f"x={data}", *fitted)
    told = vispec("posterior", run, f"x={data}", "--query", "stretches").splitlines()
    assert told[0].endswith("s: the | boat")
    assert vispec("posterior", run, f"x={data}").splitlines() == told
    rows = [json.loads(line)["s"] for line in vispec("posterior", run, f"x={data}", "--jsonl").splitlines()]
    assert rows[0] == [[0, 2, 0], [3, 6, 0]]
    assert rows[-1] == []
    (tmp_path / "new.txt").write_text("theboatzq\n")
    assert "unknown in WORD" not in vispec("eval", run, f"x={tmp_path / 'new.txt'}")
    for command in ("predict", "sample"):
        refused = CliRunner().invoke(main, [command, run, f"x={data}"])
        assert refused.exit_code == 1
        assert "--query stretches" in refused.stderr


def test_weights_alone():
    """Where all words weigh the same: log Σ Π_words exp(-|w|^1.6) / |WORD| over the ways to cut."""
    made: dict[str, object] = {}
    exec(compile_spec(Source("s.vispec", SPEC)), made)
    module = made["S"](LETTER=3, WORD=7).double()  # pyright: ignore[reportCallIssue, reportOptionalCall]
    batch = {
        "x": torch.zeros(1, 4, dtype=torch.int64),
        "x_len": torch.tensor([4]),
        "word": torch.ones(1, 4, 3, dtype=torch.int64),
    }
    weigh = lambda n: torch.tensor(-(float(n) ** 1.6)).double().exp() / 7  # noqa: E731
    cuts = [(1, 1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2), (3, 1), (1, 3)]
    wanted = torch.stack([torch.stack([weigh(n) for n in cut]).prod() for cut in cuts]).sum().log()
    torch.testing.assert_close(module.log_prob(batch)[0], wanted)
