"""`vispec eval`, `posterior`, `predict`, `sample` on small fitted runs: the numbers, lengths, words and exit codes."""

import json
import math

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

ALIGN = """\
vocab EN
vocab FR(begin="<null>")
net lex(y: token[FR]) -> simplex[EN] = embed(8)
plate pair:
    plate j:
        given y : token[FR]
    plate i:
        latent   a : index[j]  ~ Uniform()
        observed x : token[EN] ~ Categorical(lex(y[a]))
"""
EN = ["the house", "the blue house", "a", "the flower"]
FR = ["la maison", "la maison bleue", "une", "la fleur"]

GUIDED = """\
size Z = 2
net decode(z: real[Z]) -> real[3] = mlp([4])
net encode(x: real[3]) -> (loc: real[Z], scale: positive[Z]) = mlp([4])
plate n:
    latent   z : real[Z] ~ Normal(0, 1)
    observed x : real[3] ~ Normal(decode(z), 0.5)
guide:
    z ~ Normal(encode(x))
"""


def vispec(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def rows_of(*arguments: str) -> list[dict]:
    result = vispec(*arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A fitted alignment model in `align` and a fitted mixture in `toy`."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        (place / "align.vispec").write_text(ALIGN)
        (place / "t.en").write_text("\n".join(EN) + "\n")
        (place / "t.fr").write_text("\n".join(FR) + "\n")
        quick = ("--threads", "1", "--epochs", "60")
        result = vispec("fit", "align.vispec", "x=t.en", "y=t.fr", *quick, "--lr", "0.1", "--out", "align")
        assert result.exit_code == 0, result.output
        assert vispec("new", "toy").exit_code == 0
        assert vispec("fit", "toy.vispec", "toy.csv", *quick, "--out", "toy").exit_code == 0
    return place


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


PAIRS = ("x=t.en", "y=t.fr")


def test_eval_agrees_with_the_fit_and_with_itself():
    [score] = rows_of("eval", "align", *PAIRS, "--json")
    end = json.loads((open("align/metrics.jsonl").read().splitlines())[-1])  # noqa: SIM115
    assert score["log_prob"] == pytest.approx(end["train"]["log_prob"], rel=1e-6)
    assert (score["rows"], score["tokens"], score["exact"], score["estimator"]) == (4, 8, True, "exact")
    assert score["log_prob_per_row"] == pytest.approx(score["log_prob"] / 4)
    assert score["perplexity"] == pytest.approx(math.exp(-score["log_prob"] / 8))
    [small] = rows_of("eval", "align", *PAIRS, "--json", "--batch", "1")
    assert small["log_prob"] == pytest.approx(score["log_prob"], rel=1e-6)
    assert f"{score['perplexity']:.6g}" in vispec("eval", "align", *PAIRS).stdout


def test_marginals_have_the_true_lengths_and_sum_to_one():
    rows = rows_of("posterior", "align", *PAIRS, "--jsonl")
    assert [len(row["a"]) for row in rows] == [len(text.split()) for text in EN]
    for row, french in zip(rows, FR, strict=True):
        for probabilities in row["a"]:
            assert len(probabilities) == len(french.split()) + 1  # and NULL
            assert sum(probabilities) == pytest.approx(1, abs=1e-6)


def test_mode_and_entropy_follow_from_the_marginals():
    marginals = rows_of("posterior", "align", *PAIRS, "--jsonl", "--query", "marginals")
    modes = rows_of("posterior", "align", *PAIRS, "--jsonl", "--query", "mode")
    entropies = rows_of("posterior", "align", *PAIRS, "--jsonl", "--query", "entropy")
    for marginal, mode, entropy in zip(marginals, modes, entropies, strict=True):
        for p, best, h in zip(marginal["a"], mode["a"], entropy["a"], strict=True):
            assert p[best] == max(p)
            assert h == pytest.approx(-sum(q * math.log(q) for q in p if q > 0), abs=1e-4)


def test_samples_of_the_posterior_repeat_with_their_seed():
    def draw(seed):
        return rows_of("posterior", "toy", "toy.csv", "--jsonl", "--query", "sample", "--seed", seed)

    assert draw("1") == draw("1")
    assert {row["c"] for row in draw("1")} <= {0, 1, 2}


def test_alignments_are_written_between_words():
    text = vispec("posterior", "align", *PAIRS).stdout
    assert text.count("→") == sum(len(line.split()) for line in EN)
    assert "house→maison" in text


def test_predictions_follow_the_order_of_the_rows_and_the_words_of_the_data():
    rows = rows_of("predict", "align", *PAIRS, "--jsonl", "--rule", "mode")
    assert [len(row["x"]) for row in rows] == [len(text.split()) for text in EN]
    assert {word for row in rows for word in row["x"]} <= {"<unk>", *" ".join(EN).split()}
    means = rows_of("predict", "toy", "toy.csv", "--jsonl", "--rule", "mean")
    assert all(len(row["x"]) == 2 for row in means)


def test_predict_says_what_the_data_lack():
    result = vispec("predict", "align", "y=t.fr")
    assert result.exit_code == 1
    assert "`x`" in result.stderr


def test_sample_draws_rows_of_every_variable():
    rows = rows_of("sample", "toy", "-n", "5", "--jsonl")
    assert len(rows) == 5
    assert all(row["c"] in (0, 1, 2) and len(row["x"]) == 2 for row in rows)
    assert rows == rows_of("sample", "toy", "-n", "5", "--jsonl")
    assert rows != rows_of("sample", "toy", "-n", "5", "--jsonl", "--seed", "1")


def test_sample_takes_given_variables_from_data_and_lengths_from_training():
    rows = rows_of("sample", "align", "y=t.fr", "-n", "9", "--jsonl")
    assert [row["y"] for row in rows[:4]] == [["<null>", *text.split()] for text in FR]
    assert rows[8]["y"] == rows[0]["y"]
    assert {len(row["x"]) for row in rows} <= {1, 2, 3}
    fixed = rows_of("sample", "align", "y=t.fr", "-n", "2", "--length", "i=7", "--jsonl")
    assert [len(row["x"]) for row in fixed] == [7, 7]
    assert all(0 <= a < len(row["y"]) for row in fixed for a in row["a"])


def test_a_bound_is_called_one_and_guides_are_parameters(folder):
    (folder / "guided.vispec").write_text(GUIDED)
    (folder / "three.csv").write_text("x1,x2,x3\n" + "0.1,0.2,0.3\n1.5,-1,0\n-1,2,0.5\n" * 5)
    result = vispec("fit", "guided.vispec", "three.csv", "--threads", "1", "--epochs", "5", "--out", "guided", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["train"]
    assert found["exact"] is False
    assert found["estimator"].startswith("elbo")
    [score] = rows_of("eval", "guided", "three.csv", "--json")
    assert score["log_prob"] == found["log_prob"]
    rows = rows_of("posterior", "guided", "three.csv", "--jsonl")
    assert len(rows) == 15
    assert all(len(row["z"]["loc"]) == len(row["z"]["scale"]) == 2 for row in rows)
    assert all(scale > 0 for row in rows for scale in row["z"]["scale"])
    assert len(rows_of("sample", "guided", "-n", "2", "--jsonl")) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("eval", "nowhere", "toy.csv"), 1, "nowhere is no folder"),
        (("eval", ".", "toy.csv"), 1, "no run"),
        (("eval", "toy", "missing.csv"), 1, "missing.csv"),
        (("eval", "toy"), 2, "DATA"),
        (("eval", "toy", "t.en"), 1, "t.en"),
        (("eval", "toy", "toy.csv", "--estimator", "foo"), 2, "expected iwae"),
        (("eval", "toy", "toy.csv", "--estimator", "iwae(9)"), 2, "is exact"),
        (("posterior", "toy", "toy.csv", "--query", "mood"), 2, "mood"),
        (("predict", "toy", "toy.csv", "--rule", "guess"), 2, "guess"),
        (("sample", "align"), 2, "given `y`"),
        (("sample", "toy", "-n", "0"), 2, "-n"),
        (("sample", "align", "y=t.fr", "--length", "q=3"), 2, "i"),
        (("sample", "align", "y=t.fr", "--length", "i=many"), 2, "whole number"),
        (("eval", "toy", "toy.csv", "--device", "abacus"), 1, "abacus"),
    ],
)
def test_mistakes_have_a_message_and_a_code(arguments, code, words):
    result = vispec(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_damaged_run_is_told(tmp_path):
    broken = tmp_path / "run"
    broken.mkdir()
    for name in ("spec.vispec", "module.py"):
        (broken / name).write_text(open(f"toy/{name}").read())  # noqa: SIM115
    (broken / "config.json").write_text('{"spec": 3}')
    result = vispec("eval", str(broken), "toy.csv")
    assert (result.exit_code, "damaged" in result.stderr) == (1, True)
    (broken / "config.json").write_text(open("toy/config.json").read())  # noqa: SIM115
    result = vispec("eval", str(broken), "toy.csv")
    assert result.exit_code == 1
    assert "vocab" in result.stderr
    (broken / "vocab").mkdir()
    (broken / "vocab" / "encoders.json").write_text(open("toy/vocab/encoders.json").read())  # noqa: SIM115
    result = vispec("eval", str(broken), "toy.csv")
    assert (result.exit_code, "no parameters yet" in result.stderr) == (1, True)
    (broken / "best.safetensors").write_bytes(b"junk")
    result = vispec("eval", str(broken), "toy.csv")
    assert (result.exit_code, "best.safetensors" in result.stderr) == (1, True)


SHARED = """\
latent mu : real ~ Normal(0, 10)
latent tau : positive ~ Gamma(2, 2)
plate n:
    let half = mu / 2
    observed x : real ~ Normal(mu, tau)
guide:
    auto(full_rank)
"""


def test_moments_of_what_rows_share(tmp_path, monkeypatch):
    """One line for all rows, then each row's, by that row's minibatch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.vispec").write_text(SHARED)
    (tmp_path / "d.tsv").write_text("x\n1.0\n2.0\n3.0\n")
    assert vispec("fit", "m.vispec", "d.tsv", "--out", "run", "--epochs", "3", "--threads", "1").exit_code == 0
    first, *own = rows_of("posterior", "run", "d.tsv", "--query", "moments(5000)", "--jsonl")
    assert set(first) == {"(shared)"}
    assert set(first["(shared)"]) == {"mu", "tau"}
    assert [set(row) for row in own] == [{"half"}] * 3
    mu = first["(shared)"]["mu"]
    assert own[2]["half"]["mean"] == pytest.approx(mu["mean"] / 2)
    assert own[0]["half"]["sd"] == pytest.approx(mu["sd"] / 2)
    again = rows_of("posterior", "run", "d.tsv", "--query", "moments(5000)", "--jsonl", "--batch", "1")
    assert [row["half"]["mean"] for row in again[1:]] == pytest.approx([mu["mean"] / 2] * 3, abs=0.05)
    shown = vispec("posterior", "run", "d.tsv").output.splitlines()
    assert shown[0] == "all rows"
    assert shown[1].startswith("  mu: mean=")
    refused = vispec("posterior", str(tmp_path / "run"), "d.tsv", "--query", "moments(0)")
    assert refused.exit_code == 2


def test_moments_need_something_shared():
    result = vispec("posterior", "toy", "toy.csv", "--query", "moments")
    assert result.exit_code != 0
    assert "no latent with a guide is shared" in result.output
