"""`vispec predict`: rules, targets, and which way a model is predicted."""

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

INFLATED = """\
param zero : unit = 0.2
param rate : positive = 2
plate n:
    latent z : bit ~ Bernoulli(zero)
    observed x : count ~ Zero() if z else Poisson(rate)
"""
CHAIN = """\
plate n:
    chain t:
        latent z : bit ~ Bernoulli(0.5) then Bernoulli(0.9 if z[t-1] else 0.1)
        partial x : real ~ Normal(1, 0.5) if z else Normal(-1, 0.5)
"""
PAIR = """\
plate n:
    latent z : bit ~ Bernoulli(0.4)
    observed a : bit ~ Bernoulli(0.9 if z else 0.2)
    observed b : bit ~ Bernoulli(0.7 if z else 0.1)
"""
OWN_PAST = """\
plate n:
    chain t:
        observed x : real ~ Normal(0, 1) then Normal(0.5 * x[t-1], 1)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {"inflated": INFLATED, "chain": CHAIN, "pair": PAIR, "past": OWN_PAST}.items():
        Path(f"{name}.vispec").write_text(text)
    Path("p.json").write_text('{"zero": 0.2, "rate": 2}')
    Path("x.csv").write_text("x\n1\n0\n")
    Path("ab.csv").write_text("a,b\n1,1\n0,1\n")
    Path("series.jsonl").write_text('{"x": [1.0, null, 0.9]}\n{"x": [-1.1, null]}\n')
    return tmp_path


def rows(*arguments: str) -> list[dict]:
    result = CliRunner().invoke(main, ["predict", *arguments, "--jsonl"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def inflated(*rule: str) -> dict:
    return rows("inflated.vispec", "x.csv", "--params", "p.json", *rule)[1]


def test_an_observed_count_by_its_marginal() -> None:
    assert inflated() == {"x": 0}  # the rounded mean is 2, and a Poisson's mode 1 or 2
    assert inflated("--rule", "mean")["x"] == pytest.approx(1.6)
    assert inflated("--rule", "quantiles(.05, .95)") == {"x_q05": 0, "x_q95": 4}
    assert inflated("--rule", "probs")["x"][:2] == pytest.approx([0.2 + 0.8 * math.exp(-2), 1.6 * math.exp(-2)])
    assert len(inflated("--rule", "sample(5)")["x"]) == 5


def test_numbers_of_a_series_from_those_beside_them() -> None:
    (first, second) = rows("chain.vispec", "series.jsonl", "--rule", "mean")
    assert first["x"][0] == 1
    assert first["x"][2] == pytest.approx(0.9)
    assert 0.9 < first["x"][1] < 1
    assert -1 < second["x"][1] < -0.7
    assert len(rows("chain.vispec", "series.jsonl", "--rule", "sample(3)")[1]["x"][1]) == 3


def test_a_target_is_told_by_all_else() -> None:
    weights = {1: (0.4 * 0.7, 0.6 * 0.1), 0: (0.4 * 0.3, 0.6 * 0.9)}
    expected = [(w[0] * 0.9 + w[1] * 0.2) / sum(w) for w in (weights[1], weights[1])]
    found = rows("pair.vispec", "ab.csv", "--target", "a", "--rule", "mean")
    assert [row["a"][1] for row in found] == pytest.approx(expected, rel=1e-5)
    assert [set(row) for row in found] == [{"a"}, {"a"}]
    alone = rows("pair.vispec", "ab.csv", "--rule", "probs")  # nothing is given
    assert alone[0]["a"][1] == pytest.approx(0.4 * 0.9 + 0.6 * 0.2, rel=1e-5)


def test_a_column_of_the_target_may_be_away() -> None:
    Path("b.csv").write_text("b\n1\n0\n")
    found = rows("pair.vispec", "ab.csv", "--target", "a", "--rule", "mean")[0]["a"]
    CliRunner().invoke(main, ["fit", "pair.vispec", "ab.csv", "--out", "run", "--no-verify"])
    assert rows("run", "b.csv", "--target", "a", "--rule", "mean")[0]["a"] == pytest.approx(found)


def test_what_its_own_past_tells_comes_element_by_element() -> None:
    Path("full.jsonl").write_text('{"x": [1.0, 2.0, 3.0]}\n')
    assert len(rows("past.vispec", "full.jsonl", "--rule", "mean")[0]["x"]) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pair.vispec", "ab.csv", "--rule", "quantile(.5)"], 2, "is no decision rule"),
        (["pair.vispec", "ab.csv", "--rule", "quantiles()"], 2, "is no decision rule"),
        (["pair.vispec", "ab.csv", "--target", "c"], 1, "no observed or partial variable"),
        (["chain.vispec", "series.jsonl", "--rule", "joint"], 1, "has no rule 'joint'"),
    ],
)
def test_what_cannot_be(arguments: list[str], code: int, words: str) -> None:
    result = CliRunner().invoke(main, ["predict", *arguments])
    assert result.exit_code == code, result.output
    assert words in result.output


def test_latents_that_a_fit_only_sampled_are_summed_for_a_posterior() -> None:
    text = "param a : real = 1\nplate n:\n    plate i[2]:\n        latent f : bit ~ Bernoulli(0.3)\n"
    text += "    observed x : real ~ Normal(sum(f[*]) * a, 1)\nfit:\n    fixed : a\n"
    Path("exact.vispec").write_text(text)
    Path("score.vispec").write_text(text + "infer:\n    f : score(samples=2)\n")
    told = [CliRunner().invoke(main, ["posterior", f"{name}.vispec", "x.csv", "--jsonl"]) for name in ("exact", "score")]
    assert [each.exit_code for each in told] == [0, 0], [each.output for each in told]
    assert told[0].stdout == told[1].stdout
    assert "`f`: sampled in the fit, summed here" in told[1].stderr


def test_what_has_no_law_to_draw_from_is_said() -> None:
    Path("flat.vispec").write_text("plate n:\n    observed x : real ~ Flat()\n    observed y : real ~ Normal(x, 1)\n")
    Path("xy.csv").write_text("x,y\n1,2\n")
    CliRunner().invoke(main, ["fit", "flat.vispec", "xy.csv", "--out", "flat", "--no-verify"])
    for command in (["sample", "flat", "-n", "1"], ["predict", "flat", "xy.csv"]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        assert "`x`: Flat() is no law to draw from" in result.stderr


def test_each_row_has_a_number_of_its_own() -> None:
    text = "param p : unit = 0.3\nplate n:\n    chain t:\n        observed x : bit ~ Bernoulli(p)\nfit:\n    fixed : p\n"
    Path("bits.vispec").write_text(text)
    Path("bits.jsonl").write_text('{"x": [1, 0, 0]}\n{"x": [1]}\n{"x": [0, 0]}\n')
    call = lambda *more: CliRunner().invoke(main, ["eval", "bits.vispec", "bits.jsonl", "--json", *more])  # noqa: E731
    found = json.loads(call("--pointwise").stdout)["log_prob"]
    p, q = math.log(0.3), math.log(0.7)
    assert found == pytest.approx([p + 2 * q, p, 2 * q], rel=1e-6)
    assert sum(found) == pytest.approx(json.loads(call().stdout)["log_prob"])
    assert call("--pointwise", "--estimator", "elbo(2)").exit_code == 2
