"""Comparison from Python, with tables in memory: what the commands say."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vispec
from vispec.cli.main import main

NORMAL = "param mu : real\nparam sigma : positive\nplate n:\n    observed x : real ~ Normal(mu, sigma)\n"
WIDE = "param mu : real\nplate n:\n    observed x : real ~ Normal(mu, 3)\n"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.DataFrame({"x": np.random.default_rng(3).normal(1.0, 2.0, 60)})


@pytest.fixture(scope="module")
def runs(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("runs")
    fit = lambda name, spec: vispec.load(spec).fit(table, out=folder / name, quiet=True, verify=False)  # noqa: E731
    return [fit("normal", NORMAL), fit("wide", WIDE)]


def test_runs_fitted_to_a_table_are_compared_on_it(runs: list[Any], table: pd.DataFrame) -> None:
    found = runs[1].compare(runs[0])
    assert found.fitted
    assert [Path(each.run).name for each in found.runs] == ["normal", "wide"]
    assert found.runs[1].elpd_diff == pytest.approx(found.runs[1].elpd - found.runs[0].elpd)
    assert repr(found).splitlines()[1].startswith("normal")
    assert runs[1].compare(runs[0], data=table) == found
    assert not runs[1].compare(runs[0], data=table.head(5)).fitted


def test_the_command_says_the_same(runs: list[Any], table: pd.DataFrame, tmp_path: Path) -> None:
    from click.testing import CliRunner

    table.to_csv(tmp_path / "x.csv", index=False)
    for name, spec in (("normal", NORMAL), ("wide", WIDE)):
        (tmp_path / f"{name}.vispec").write_text(spec, encoding="utf-8")
        words = ["fit", f"{tmp_path}/{name}.vispec", f"{tmp_path}/x.csv", "--out", f"{tmp_path}/{name}"]
        assert CliRunner().invoke(main, words).exit_code == 0
    result = CliRunner().invoke(main, ["compare", f"{tmp_path}/normal", f"{tmp_path}/wide"])
    assert result.stdout.rstrip() == repr(runs[0].compare(runs[1]))


def test_other_rows_are_an_error(runs: list[Any], table: pd.DataFrame, tmp_path: Path) -> None:
    other = vispec.load(WIDE).fit(table + 1, out=tmp_path / "other", quiet=True, verify=False)
    with pytest.raises(vispec.RunError, match="other values"):
        runs[0].compare(other)


def test_checks_and_trees(runs: list[Any], table: pd.DataFrame) -> None:
    found = runs[0].check_fit(table, replicates=50)
    assert found.variables[0].statistics[0].data == pytest.approx(table["x"].mean())
    tree = runs[0].to_arviz(draws=60)
    assert tree["posterior/mu"].shape == (1, 60)
    assert tree["observed_data/x"].values.tolist() == pytest.approx(table["x"].tolist())
    assert runs[0].to_arviz(draws=30, data=table.head(7))["log_likelihood/x"].shape == (1, 30, 7)
