"""Chains of stretches as specs: against all ways to cut and label by `verify`, their queries, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.answers.show import stretches
from vispec.cli.main import main
from vispec.source import Source
from vispec.verify.build import build, randomise
from vispec.verify.data import random_batch
from vispec.verify.oracle.stretches import all_cuts, all_stretches, log_density

SPEC = """\
size K = 2
param init : simplex[K]
plate state[K]:
    param trans    : simplex[K]
    param duration : simplex[3]
    param emit     : simplex[3]

plate row:
    chain s of t(longest=3):
        latent k : index[state] ~ Categorical(init) then Categorical(trans[k[s-1]])
        latent d : length       ~ Categorical(duration[k])
        plate t:
            observed x : category[3] ~ Categorical(emit[k])
"""
LENGTH = "        latent d : length       ~ Categorical(duration[k])\n"
DURATION = "    param duration : simplex[3]\n"
EMITTED = "            observed x : category[3] ~ Categorical(emit[k])\n"


def changed(*pairs: tuple[str, str]) -> str:
    text = SPEC
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


SPECS = {
    "as written": SPEC,
    "cut": changed(("longest=3", "longest=3, cut")),
    "no law of lengths": changed((LENGTH, ""), (DURATION, "")),
    "one law of lengths for all labels": changed(
        ("duration[k]", "length"), (DURATION, ""), ("plate row", "param length : simplex[3]\nplate row")
    ),
    "labels without a past": changed((" then Categorical(trans[k[s-1]])", ""), ("    param trans    : simplex[K]\n", "")),
    "a first label by row": changed(
        ("plate row:\n", "net f(y: real) -> simplex[K] = mlp([])\nplate row:\n    given y : real\n"),
        ("Categorical(init)", "Categorical(f(y))"),
        ("param init : simplex[K]\n", ""),
    ),
    "named labels, sized plate": changed(
        ("size K = 2\n", ""), ("index[state]", 'category["a", "b"]'), ("[K]", "[2]"), ("plate t:", "plate t[4]:")
    ),
    "summed beside, missing cells": changed(
        ("plate row:\n", "plate row:\n    latent m : index[g] ~ Categorical([0.3, 0.7])\n"),
        ("    param emit     : simplex[3]\n", "    plate g[2]:\n        param emit : simplex[3]\n"),
        ("emit[k]", "emit[k, m]"),
        ("observed x", "partial x"),
    ),
    "read outside, several sequences": changed(
        ("    chain s", "  plate doc:\n    chain s"),
        (EMITTED, EMITTED + "    plate t:\n        observed u : bit ~ Bernoulli(0.2 if k == 0 else 0.6)\n"),
    ),
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
        ("latent k", "observed k", "V323"),
        ("longest=3", "longest=3, cut=true", "V323"),
        ("(longest=3)", "(cut)", "V323"),
        ("k : index[state]", "k : real", "V307"),
        (LENGTH, LENGTH + LENGTH, "V323"),
        ("trans[k[s-1]]", "trans[k[s-2]]", "V323"),
        ("simplex[3]\n    param emit", "simplex[4]\n    param emit", "V409"),
        ("emit[k]", "softmax(emit[k] * d)", "V323"),
        ("emit[k]", "softmax(emit[k] * s)", "V323"),
        ("emit[k]", "softmax(emit[k] * |t|)", "V324"),
        ("emit[k])", "emit[k]) then Categorical(emit[k])", "V324"),
        ("plate row:\n    chain", "chain", "V307"),
        (EMITTED, EMITTED + "infer:\n    k : score(samples=4)\n", "V706"),
        (EMITTED, EMITTED + "guide:\n    k ~ Categorical(init)\n", "V410"),
        ("trans[k[s-1]])", "trans[k[s-1]]) then Segments(init)", "V323"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, code: str):
    text = changed((old, new))
    if old.startswith("plate row"):
        text = "\n".join(line.removeprefix("    ") if i > 5 else line for i, line in enumerate(text.splitlines())) + "\n"
    (tmp_path / "s.vispec").write_text(text)
    found = CliRunner().invoke(main, ["check", str(tmp_path / "s.vispec")])
    assert code in found.output
    assert "Traceback" not in found.output


def test_no_cuts_are_likelier_than_others():
    """2^(n - 1) ways, each with the same probability, where nothing says how long stretches are."""
    assert [len(all_cuts(n, 9)) for n in range(1, 8)] == [2 ** (n - 1) for n in range(1, 8)]
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    every = all_stretches(5, 3, 2)
    total = torch.stack([log_density(torch.tensor(each), {"init": half}, 3, False) for each in every]).logsumexp(0)
    torch.testing.assert_close(total, torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("cut", [False, True])
def test_parts(cut: bool):
    """The best way and the probabilities of boundaries, against all ways one by one."""
    built = build(Source("s.vispec", SPECS["cut" if cut else "as written"]), {})
    module = built.module
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        randomise(built, generator)
        batch = random_batch(built.model, built.sizes, 4, generator, longest=5)
        best, begins, mode = (module.posterior(batch, query)["k"] for query in ("stretches", "boundaries", "mode"))
        params = {"init": module.init, "move": module.trans, "duration": module.duration}
        for row, count in enumerate(batch["x_len"].tolist()):
            emit = module.emit[:, batch["x"][row, :count]].double().log()  # (K, count)
            every = all_stretches(count, 3, 2)
            scores = torch.stack(
                [
                    log_density(torch.tensor(each), params, 3, cut) + sum(emit[k, i] for i, k in enumerate(each[:count]))
                    for each in every
                ]
            )
            first = torch.tensor(every).reshape(len(every), -1)[:, count:].double()
            torch.testing.assert_close(begins[row, :count], scores.softmax(0) @ first, rtol=1e-9, atol=1e-12)
            assert (begins[row, count:] == 0).all()
            found = [tuple(each) for each in best[row].tolist() if each[0] >= 0]
            labels = [k for start, end, k in found for _ in range(start, end + 1)]
            told = (*labels, *(int(i in {start for start, _, _ in found}) for i in range(count)))
            assert told == every[int(scores.argmax())] if count else not found
            assert mode[row, :count].tolist() == labels


def test_commands(tmp_path: Path):
    (tmp_path / "s.vispec").write_text(SPECS["named labels, sized plate"].replace("[4]", ""))
    (tmp_path / "d.jsonl").write_text('{"x": [0, 0, 2, 2, 1]}\n{"x": [1]}\n{"x": []}\n')
    run, data = str(tmp_path / "run"), str(tmp_path / "d.jsonl")

    def vispec(*arguments: str) -> str:
        found = CliRunner().invoke(main, [*arguments])
        assert found.exit_code == 0, found.output
        return found.stdout

    vispec("fit", str(tmp_path / "s.vispec"), data, "--set", "optimizer=adam", "--epochs", "2", "--threads", "1", "--out", run)
    for query in ("stretches", "boundaries", "marginals", "mode", "sample", "entropy"):
        rows = [json.loads(line)["k"] for line in vispec("posterior", run, data, "--query", query, "--jsonl").splitlines()]
        assert len(rows) == 3
        assert rows[2] == []
        if query == "stretches":
            assert [rows[0][0][0], rows[0][-1][1]] == [0, 4]
            assert rows[1][0][:2] == [0, 0]
        if query == "boundaries":
            assert [len(row) for row in rows] == [5, 1, 0]
            assert rows[1] == [pytest.approx(1)]
    assert "/a" in (text := vispec("posterior", run, data, "--query", "stretches")) or "/b" in text
    refused = CliRunner().invoke(main, ["posterior", run, data, "--query", "kbest(2)"])
    assert refused.exit_code == 1
    assert "the k best stretches are not told by their labels" in refused.stderr


def test_text_of_stretches():
    found = [(0, 1, 2), (2, 2, 0)]
    assert stretches(found, None, None) == "0-1/2 2-2/0"
    assert stretches(found, ["the", "cat", "sat"], ("A", "B", "C")) == "the cat/C | sat/A"


def test_written_again(tmp_path: Path):
    """`fmt` keeps it as it is."""
    spec = tmp_path / "s.vispec"
    spec.write_text(SPECS["cut"])
    assert CliRunner().invoke(main, ["fmt", "--check", str(spec)]).exit_code == 0
