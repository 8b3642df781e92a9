"""Which runs can be compared, on which rows, and what is said where something is missing."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from vispec.answers.compared import loo
from vispec.cli.main import main

NORMAL = "param mu : real\nparam sigma : positive\nplate n:\n    observed x : real ~ Normal(mu, sigma)\n"
WIDE = "param mu : real\nplate n:\n    observed x : real ~ Normal(mu, 3)\n"
WEIGHED = NORMAL.replace("    observed", "    given w : positive\n    observed") + "fit:\n    weight : w\n"
BOUND = "param mu : real\nplate n:\n    latent z : real ~ Normal(mu, 1)\n    observed x : real ~ Normal(z, 1)\n"
BOUND += "infer:\n    z : elbo(samples=1)\nfit:\n    epochs : 2\n"
STILL = "plate n:\n    observed x : real ~ Normal(1, 2)\n"


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def fitted(folder: Path, name: str, spec: str, *words: object) -> Path:
    (folder / f"{name}.vispec").write_text(spec, encoding="utf-8")
    result = call("fit", folder / f"{name}.vispec", *words, "--out", folder / name)
    assert result.exit_code == 0, result.output
    return folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    x = np.random.default_rng(3).normal(1.0, 2.0, 60)
    rows = [f"{a:.6f},{b:.6f},{1 + i % 2}" for i, (a, b) in enumerate(zip(x, x + 1, strict=True))]
    data, other, new = (folder / f"{name}.csv" for name in ("data", "other", "new"))
    data.write_text("\n".join(["x,z,w", *rows, ""]), encoding="utf-8")
    other.write_text("\n".join(["x,z,w", *rows[:-1], "3.5,1,1", ""]), encoding="utf-8")
    new.write_text("x,z,w\n0.5,1,1\n2,1,1\n-1,1,1\n", encoding="utf-8")
    return {
        "data": data,
        "new": new,
        "normal": fitted(folder, "normal", NORMAL, data),
        "wide": fitted(folder, "wide", WIDE, data),
        "moved": fitted(folder, "moved", NORMAL, data, "--columns", "x=z"),
        "weighed": fitted(folder, "weighed", WEIGHED, data),
        "elsewhere": fitted(folder, "elsewhere", NORMAL, other),
        "bound": fitted(folder, "bound", BOUND, data),
        "still": fitted(folder, "still", STILL, data),
        "held": fitted(folder, "held", NORMAL, data, "--valid", "0.2"),
    }


def told(result: Result) -> dict[str, dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return {Path(each["run"]).name: each for each in json.loads(result.stdout)["runs"]}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("moved", "score other values: 60 of `x`, and 60 of `x`"),
        ("weighed", "score other values: 60 of `x`, and 60 of `x`, weighed by `w`"),
        ("elsewhere", "were fitted to other data"),
        ("held", "was fitted to 60 rows and"),
    ],
)
def test_other_rows_are_refused(runs: dict[str, Path], other: str, words: str) -> None:
    result = call("compare", runs["normal"], runs[other])
    assert result.exit_code == 1
    assert words in result.stderr


def test_rows_fitted_by_one_run_alone_are_refused(runs: dict[str, Path]) -> None:
    result = call("compare", runs["normal"], runs["elsewhere"], runs["data"])
    assert result.exit_code == 1
    assert "was fitted to these DATA" in result.stderr


def test_rows_of_the_fit_by_name_are_those_of_the_fit(runs: dict[str, Path]) -> None:
    with_data = told(call("compare", runs["normal"], runs["wide"], runs["data"], "--json"))
    assert with_data == told(call("compare", runs["normal"], runs["wide"], "--json"))


def test_new_rows_are_scored_under_the_draws(runs: dict[str, Path]) -> None:
    """With the deviation known, a new row's density is normal around the mean with the variance of that mean besides."""
    found = told(call("compare", runs["wide"], runs["elsewhere"], runs["new"], "--json", "--draws", 4000))
    x, new = np.loadtxt(runs["data"], delimiter=",", skiprows=1)[:, 0], np.array([0.5, 2.0, -1.0])
    variance = 9 + 9 / 60
    exact = -0.5 * (new - x.mean()) ** 2 / variance - 0.5 * math.log(2 * math.pi * variance)
    assert found["wide"]["elpd"] == pytest.approx(exact.sum(), abs=2e-3)
    assert found["wide"]["log_prob"] == pytest.approx((-0.5 * (new - x.mean()) ** 2 / 9 - 0.5 * math.log(18 * math.pi)).sum())
    assert found["wide"]["aic"] is None


def test_left_out_exactly(runs: dict[str, Path]) -> None:
    """With the deviation known, a row given the others is normal around their mean."""
    found = told(call("compare", runs["wide"], runs["normal"], "--json", "--draws", 4000))
    x = np.loadtxt(runs["data"], delimiter=",", skiprows=1)[:, 0]
    others, variance = (x.sum() - x) / 59, 9 + 9 / 59
    exact = -0.5 * (x - others) ** 2 / variance - 0.5 * math.log(2 * math.pi * variance)
    assert found["wide"]["elpd"] == pytest.approx(exact.sum(), abs=5e-3)
    assert found["wide"]["p_loo"] == pytest.approx(
        (-0.5 * (x - x.mean()) ** 2 / 9.15 - 0.5 * math.log(18.3 * math.pi) - exact).sum(), abs=0.01
    )


def test_a_row_that_stands_for_two_counts_twice(runs: dict[str, Path], tmp_path: Path) -> None:
    lines = runs["data"].read_text(encoding="utf-8").splitlines()
    twice = [lines[0], *(line for line in lines[1:] for _ in range(int(line.rsplit(",", 1)[1])))]
    (tmp_path / "twice.csv").write_text("\n".join([*twice, ""]), encoding="utf-8")
    spelled = fitted(tmp_path, "spelled", NORMAL, tmp_path / "twice.csv")
    found = told(call("compare", runs["weighed"], runs["weighed"], "--json"))["weighed"]
    whole = told(call("compare", spelled, spelled, "--json"))["spelled"]
    for key in ("log_prob", "aic", "bic", "elpd", "elpd_se", "p_loo"):
        assert found[key] == pytest.approx(whole[key], abs=1e-4), key


def test_what_has_no_draws_says_why(runs: dict[str, Path]) -> None:
    result = call("compare", runs["bound"], runs["normal"])
    assert result.exit_code == 0
    assert "bound: the log-probability is a lower bound" in result.stdout
    assert "the objective is a bound and not a likelihood" in result.stdout


def test_a_model_without_parameters_has_the_density_that_it_has(runs: dict[str, Path]) -> None:
    found = told(call("compare", runs["still"], runs["normal"], "--json"))["still"]
    assert found["elpd"] == pytest.approx(found["log_prob"], abs=1e-9)
    assert found["p_loo"] == 0


def test_bad_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x\n" + "\n".join(map(str, [*range(8), 200])) + "\n", encoding="utf-8")
    run = fitted(tmp_path, "normal", NORMAL, tmp_path / "x.csv")
    found = told(call("compare", run, run, "--json"))["normal"]
    assert found["bad_k"] == [8]
    assert "in 1 of 9 rows: 8 (" in found["note"]


def test_what_is_at_the_end_of_its_domain_is_named(tmp_path: Path) -> None:
    """No row has the third label, so that its probability is 0, and log p of the others is as without it."""
    (tmp_path / "x.csv").write_text("x\n" + "a\nb\nb\na\nb\n" * 4, encoding="utf-8")
    labels = 'category["a", "b", "c"]'
    whole = f"param p : simplex[3]\nplate n:\n    observed x : {labels} ~ Categorical(p)\n"
    few = whole.replace("[3]", "[2]").replace(', "c"', "")
    found = told(
        call(
            "compare",
            fitted(tmp_path, "three", whole, tmp_path / "x.csv"),
            fitted(tmp_path, "two", few, tmp_path / "x.csv"),
            "--json",
        )
    )
    assert found["three"]["note"] == "draws leave at the end of their domain: p[c]"
    assert found["three"]["free_parameters"] == found["two"]["free_parameters"] == 1
    assert found["three"]["elpd"] == pytest.approx(found["two"]["elpd"], abs=0.02)


def test_without_arviz_it_says_what_to_install(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "arviz_stats.base.array", None)
    result = call("compare", runs["normal"], runs["wide"])
    assert result.exit_code == 0
    assert "pip install 'vispec[arviz]'" in result.stdout
    assert loo.GOOD == 0.7


def test_one_run_is_none_to_compare(runs: dict[str, Path]) -> None:
    assert call("compare", runs["normal"]).exit_code == 2
    result = call("compare", runs["normal"], "nowhere")
    assert result.exit_code == 2
    assert "nowhere is no folder" in result.stderr


def test_the_table_has_the_best_first_and_fits_a_screen(runs: dict[str, Path]) -> None:
    printed = call("compare", runs["normal"], runs["wide"], runs["still"]).stdout.splitlines()
    assert printed[0].split() == ["log-prob.", "free", "AIC", "BIC", "elpd", "s.e.", "difference", "s.e."]
    rows = [line.split() for line in printed[1:4]]
    assert {row[0] for row in rows} == {"normal", "wide", "still"}
    assert [float(row[-2]) for row in rows] == sorted((float(row[-2]) for row in rows), reverse=True)
    assert max(map(len, printed)) <= 100
