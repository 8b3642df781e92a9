"""Data beside replicates: statistics by numpy, calibration where the law is known, what is said of a law that does not fit."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.stats import norm, poisson

from vispec.cli.main import main

SLOPE = "param a : real\nparam s : positive\nplate n:\n    given  u : real\n    observed x : real ~ Normal(a * u, s)\n"


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def checked(folder: Path, spec: str, table: str, *words: object) -> dict[str, dict[str, Any]]:
    """What `check-fit` says of a spec that leaves nothing to fit."""
    (folder / "a.vispec").write_text(spec, encoding="utf-8")
    data = folder / ("a.jsonl" if table.startswith("{") else "a.csv")
    data.write_text(table, encoding="utf-8")
    result = call("check-fit", folder / "a.vispec", data, "--json", *words)
    assert result.exit_code == 0, result.output
    return {each["name"]: each for each in json.loads(result.stdout)["variables"]}


def statistics(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in found["statistics"]}


def column(values: Any) -> str:
    return "x\n" + "".join(f"{value}\n" for value in values)


def test_numbers_have_the_ranks_of_their_law(tmp_path: Path) -> None:
    """The share of replicates below a number is near the probability of one below it."""
    x = np.random.default_rng(0).normal(0.3, 1.4, 300)
    found = checked(tmp_path, "plate n:\n    observed x : real ~ Normal(0, 1)\n", column(x), "--replicates", 1000)["x"]
    ranks = norm.cdf(x)
    shares, _ = np.histogram(ranks, 10, (0, 1))
    steps = np.arange(301) / 300
    distance = max(np.abs(np.sort(ranks) - steps[1:]).max(), np.abs(np.sort(ranks) - steps[:-1]).max())
    assert found["calibration"]["shares"] == pytest.approx((shares / 300).tolist(), abs=0.03)
    assert found["calibration"]["distance"] == pytest.approx(distance, abs=0.02)
    assert found["calibration"]["distance"] > found["calibration"]["limit"] == pytest.approx(1.36 / math.sqrt(300))
    told = statistics(found)
    assert [told[name]["data"] for name in ("mean", "deviation", "least", "largest")] == pytest.approx(
        [x.mean(), x.std(), x.min(), x.max()], rel=1e-5
    )
    assert told["mean"]["high"] == pytest.approx(1.645 / math.sqrt(300), rel=0.15)
    assert told["mean"]["above"] == pytest.approx(norm.sf(x.mean() * math.sqrt(300)), abs=0.03)


def test_ties_are_drawn_at_random(tmp_path: Path) -> None:
    """Counts of a small rate are mostly 0 and 1, and calibrated for all that."""
    x = np.random.default_rng(1).poisson(0.7, 1000)
    found = checked(tmp_path, "plate n:\n    observed x : count ~ Poisson(0.7)\n", column(x))["x"]
    assert found["calibration"]["distance"] < found["calibration"]["limit"]
    told = statistics(found)
    assert told["share of zeros"]["data"] == pytest.approx((x == 0).mean())
    assert told["share of zeros"]["mean"] == pytest.approx(poisson.pmf(0, 0.7), abs=0.01)


def test_labels_have_shares_and_missing_cells_count_nowhere(tmp_path: Path) -> None:
    spec = 'plate n:\n    partial x : category["a", "b", "c"] ~ Categorical([0.5, 0.3, 0.2])\n'
    found = checked(tmp_path, spec, column(["a"] * 30 + ["b"] * 10 + ["NA"] * 60))["x"]
    told = statistics(found)
    assert found["cells"] == 40
    assert found["calibration"] is None
    assert [told[f"share of {label}"]["data"] for label in "abc"] == [0.75, 0.25, 0.0]
    assert told["share of a"]["mean"] == pytest.approx(0.5, abs=0.03)
    assert told["share of a"]["high"] == pytest.approx(0.5 + 1.645 * math.sqrt(0.25 / 40), abs=0.06)


def test_rows_of_other_lengths_are_replicated_as_they_are(tmp_path: Path) -> None:
    spec = "plate doc:\n    plate t:\n        observed x : real ~ Normal(2, 1)\n"
    rows = [[2.0], [1.5, 2.5, 3.0], [], [2.2, 1.8]]
    found = checked(tmp_path, spec, "".join(json.dumps({"x": row}) + "\n" for row in rows))["x"]
    assert found["cells"] == 6
    assert statistics(found)["mean"]["mean"] == pytest.approx(2, abs=0.1)
    assert statistics(found)["mean"]["high"] == pytest.approx(2 + 1.645 / math.sqrt(6), abs=0.2)


def test_given_values_are_kept(tmp_path: Path) -> None:
    """The deviation of x is that of u, and not left to a law of u."""
    rng = np.random.default_rng(3)
    u = rng.uniform(0, 10, 200)
    x = 3 * u + rng.normal(size=200)
    (tmp_path / "a.vispec").write_text(SLOPE, encoding="utf-8")
    (tmp_path / "a.csv").write_text("u,x\n" + "".join(f"{a},{b}\n" for a, b in zip(u, x, strict=True)), encoding="utf-8")
    assert call("fit", tmp_path / "a.vispec", tmp_path / "a.csv", "--out", tmp_path / "run").exit_code == 0
    result = call("check-fit", tmp_path / "run", tmp_path / "a.csv", "--json")
    told = statistics(json.loads(result.stdout)["variables"][0])
    assert told["deviation"]["low"] < x.std() < told["deviation"]["high"]
    assert told["deviation"]["high"] - told["deviation"]["low"] < 0.5


def test_what_does_not_fit_is_marked_and_pictured(tmp_path: Path) -> None:
    (tmp_path / "a.vispec").write_text("param r : positive\nplate n:\n    observed x : count ~ Poisson(r)\n", encoding="utf-8")
    x = np.random.default_rng(4).negative_binomial(1, 0.1, 200)
    (tmp_path / "a.csv").write_text(column(x), encoding="utf-8")
    assert call("fit", tmp_path / "a.vispec", tmp_path / "a.csv", "--out", tmp_path / "run").exit_code == 0
    result = call("check-fit", tmp_path / "run", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    marked = {line.split("  ")[0] for line in result.stdout.splitlines() if line.endswith("*")}
    assert {"deviation", "largest", "share of zeros"} <= marked
    assert "mean" not in marked
    assert "more than chance" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 100
    page = (tmp_path / "run" / "check-fit.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 6
    assert "<script" not in page
    assert "share of zeros" in page


def test_vectors_are_told_number_by_number(tmp_path: Path) -> None:
    spec = "size D\nplate n:\n    observed x : real[D] ~ Normal(0, 1)\n"
    (tmp_path / "a.csv").write_text("small,<b>\n0.1,9\n-0.2,11\n", encoding="utf-8")
    (tmp_path / "a.vispec").write_text(spec, encoding="utf-8")
    words = (tmp_path / "a.csv", "--columns", "x=small,<b>")
    found = json.loads(call("check-fit", tmp_path / "a.vispec", *words, "--json").stdout)["variables"]
    assert [each["name"] for each in found] == ["x[small]", "x[<b>]"]
    assert statistics(found[1])["mean"]["data"] == pytest.approx(10)
    (tmp_path / "b.vispec").write_text(
        spec.replace("(0, 1)", "(m, 1)").replace("plate", "param m : real\nplate"), encoding="utf-8"
    )
    assert call("fit", tmp_path / "b.vispec", *words, "--out", tmp_path / "run").exit_code == 0
    assert call("check-fit", tmp_path / "run", tmp_path / "a.csv").exit_code == 0
    assert "x[&lt;b&gt;]" in (tmp_path / "run" / "check-fit.html").read_text(encoding="utf-8")


def test_flat_is_said(tmp_path: Path) -> None:
    spec = "plate n:\n    observed x : real ~ Flat()\n    observed y : real ~ Normal(0, 1)\n"
    (tmp_path / "a.vispec").write_text(spec, encoding="utf-8")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,0\n", encoding="utf-8")
    result = call("check-fit", tmp_path / "a.vispec", tmp_path / "a.csv", "--json")
    assert result.exit_code == 0, result.output
    assert "x: Flat() is no law to draw from" in result.stderr
    found = json.loads(result.stdout)
    assert ([each["name"] for each in found["variables"]], found["left_out"]) == (["y"], ["x"])
    (tmp_path / "b.vispec").write_text("plate n:\n    observed x : real ~ Flat()\n", encoding="utf-8")
    result = call("check-fit", tmp_path / "b.vispec", tmp_path / "a.csv")
    assert result.exit_code == 1
    assert "nothing to compare with" in result.stderr
