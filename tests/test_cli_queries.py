"""`vispec posterior --query pairs`, `kl(RUN)` and, of a flow, `moments` on small fitted runs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

HMM = """\
size K = 3
vocab V
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param emit  : simplex[V]

plate sentence:
    chain t:
        latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : token[V] ~ Categorical(emit[c])
"""
VAE = """\
vocab V
net decode(z: real[2]) -> simplex[V] = mlp([4])
net encode(x: token[V]*) -> (loc: real[2], scale: positive[2]) = embed(4) |> mean
plate sentence:
    latent z : real[2] ~ Normal(0, 1)
    chain t:
        observed x : token[V] ~ Categorical(decode(z))
guide:
    z ~ Normal(encode(x[*]))
"""
FLOW = VAE.replace("z ~ Normal(encode(x[*]))", "z ~ Flow(encode(x[*]), layers=1, hidden=4)")
TEXT = ["a b c a", "b b", "c", "a a b c c"]


def vispec(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of one spec: `one` and `two` from other seeds, `words` of other data, `four` of other sizes; and a bound."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        (place / "t.txt").write_text("\n".join(TEXT) + "\n")
        (place / "other.txt").write_text("d e f d\ne e\n")
        (place / "hmm.vispec").write_text(HMM)
        (place / "vae.vispec").write_text(VAE)
        (place / "flow.vispec").write_text(FLOW)
        fits = {
            "one": ("hmm.vispec", "x=t.txt", "--seed", "1"),
            "two": ("hmm.vispec", "x=t.txt", "--seed", "2"),
            "words": ("hmm.vispec", "x=other.txt"),
            "four": ("hmm.vispec", "x=t.txt", "--set", "K=4"),
            "bound": ("vae.vispec", "x=t.txt"),
            "flow": ("flow.vispec", "x=t.txt"),
        }
        for name, arguments in fits.items():
            result = vispec("fit", *arguments, "--threads", "1", "--epochs", "5", "--out", name)
            assert result.exit_code == 0, result.output
    return place


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def ask(query: str) -> list[dict]:
    result = vispec("posterior", "one", "x=t.txt", "--query", query, "--jsonl")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_pairs_have_one_element_fewer_and_sum_to_the_marginals():
    pairs, marginals = ask("pairs"), ask("marginals")
    assert [len(row["c"]) for row in pairs] == [len(text.split()) - 1 for text in TEXT]
    for row, marginal in zip(pairs, marginals, strict=True):
        for t, table in enumerate(row["c"]):
            assert [sum(line) for line in table] == pytest.approx(marginal["c"][t], abs=1e-5)
            assert [sum(column) for column in zip(*table, strict=True)] == pytest.approx(marginal["c"][t + 1], abs=1e-5)
    assert "c: [[" in vispec("posterior", "one", "x=t.txt", "--query", "pairs").stdout


def test_divergence_from_another_run_and_from_itself():
    for row, text in zip(ask("kl(two)"), TEXT, strict=True):
        assert len(row["c"]) == len(text.split())
        assert row["(joint)"] >= max(row["c"]) - 1e-6
        assert row["(joint)"] > 0
    assert {row["(joint)"] for row in ask("kl(one)")} == {0.0}


@pytest.mark.parametrize(
    ("run", "query", "words"),
    [
        ("one", "kl(nowhere)", "nowhere is no folder"),
        ("one", "kl(words)", "other words"),
        ("one", "kl(four)", "`c` is not the same"),
        ("one", "kl(bound)", "`c` is not the same"),
        ("bound", "kl(bound)", "exact"),
    ],
)
def test_what_cannot_be_answered_is_told(run, query, words):
    result = vispec("posterior", run, "x=t.txt", "--query", query)
    assert result.exit_code == 1, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_flow_is_told_by_its_draws(folder, monkeypatch):
    """Its moments are what is told where nothing else is asked for; nothing is shared, so there is no line for that."""
    monkeypatch.chdir(folder)
    told = [json.loads(line) for line in vispec("posterior", "flow", "x=t.txt", "--jsonl", "--seed", "1").stdout.splitlines()]
    assert [set(row) for row in told] == [{"z"}] * len(TEXT)
    assert all(len(row["z"]["mean"]) == 2 and min(row["z"]["sd"]) > 0 for row in told)
    weighed = vispec("posterior", "flow", "x=t.txt", "--query", "marginals", "--jsonl")
    assert [set(json.loads(line)) for line in weighed.stdout.splitlines()] == [{"z", "(effective_samples)"}] * len(TEXT)
    bound = vispec("eval", "flow", "x=t.txt", "--estimator", "iwae(20)")
    assert bound.exit_code == 0, bound.output


def test_guides_are_told_where_nobody_says_what_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.vispec").write_text(
        "param s : positive\nplate n:\n    latent z : real ~ Normal(0, 1)\n    observed x : real ~ Normal(z, s)\n"
        "infer:\n    z : elbo(samples=1)\n"
    )
    Path("d.csv").write_text("x\n1\n2\n")
    for words in (["fit", "m.vispec", "d.csv", "--out", "run", "--epochs", "2", "--no-verify"], ["posterior", "run", "d.csv"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    assert "z: loc=" in result.stdout
