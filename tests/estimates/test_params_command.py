"""`vispec params` and the table at the end of `fit`, on a small run."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.train.estimates.values import Estimates

SPEC = """\
size K = 2
size D
param pi : simplex[K]
plate k[K]:
    param mu : real[D]
    param s  : positive[D]
let gap = mu[1][0] - mu[0][0]
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real[D]  ~ Normal(mu[c], s[c])
"""
FAST = ("--threads", "1", "--epochs", "1500", "--lr", "0.05")


def vispec(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of two clusters in `run`; `output` is what its fit printed."""
    place = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    first, second = random.normal((0, 10), 1, (40, 2)), random.normal((8, 30), 1, (60, 2))
    (place / "two.vispec").write_text(SPEC)
    rows = np.concatenate([second, first])
    (place / "d.csv").write_text("width,height\n" + "".join(f"{a:.6f},{b:.6f}\n" for a, b in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        result = vispec("fit", "two.vispec", "d.csv", "--columns", "x=width,height", "--out", "run", *FAST)
    assert result.exit_code == 0, result.output
    (place / "output").write_text(result.stdout)
    return place


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def told(*options: str) -> Estimates:
    result = vispec("params", "run", *options, "--json")
    assert result.exit_code == 0, result.output
    return Estimates.model_validate_json(result.stdout)


def test_fit_ends_with_the_table_that_params_prints(folder: Path) -> None:
    output = (folder / "output").read_text()
    table = vispec("params", "run").stdout.split("\n\n")[1].rstrip()
    assert "mu[0, width]" in table
    assert table in output
    assert "9 free parameters" in output


def test_numbers_carry_labels_and_intervals() -> None:
    found = told()
    entries = {entry.title: entry for entry in found.parameters}
    assert list(entries)[:4] == ["pi[0]", "pi[1]", "mu[0, width]", "mu[0, height]"]
    assert entries["mu[0, width]"].labels == (0, "width")
    assert (found.rows, found.free_parameters, found.converged, found.starts) == (100, 9, None, ())
    for entry in entries.values():
        assert entry.low is not None
        assert entry.high is not None
        assert entry.low < entry.estimate < entry.high
    share = entries["pi[0]"]
    assert share.se == pytest.approx((share.estimate * (1 - share.estimate) / 100) ** 0.5, rel=1e-2)


def test_json_is_that_of_the_documentation() -> None:
    found = json.loads(vispec("params", "run", "--json").stdout)
    keys = ("log_prob", "rows", "free_parameters", "aic", "bic", "converged", "decrement", "starts", "parameters")
    assert set(keys) <= found.keys()
    assert {"name", "labels", "estimate", "se", "low", "high", "note"} <= found["parameters"][0].keys()


def test_csv_has_a_line_for_each_number() -> None:
    rows = list(csv.DictReader(io.StringIO(vispec("params", "run", "--csv").stdout)))
    by_name = {row["parameter"]: row for row in rows}
    entries = {entry.title: entry for entry in told().parameters}
    assert by_name.keys() == entries.keys()
    assert float(by_name["mu[1, height]"]["se"]) == entries["mu[1, height]"].se


def test_level_narrows_the_intervals() -> None:
    wide, narrow = told().parameters[2], told("--level", "0.5").parameters[2]
    assert wide.se == narrow.se
    assert wide.low is not None
    assert narrow.low is not None
    assert (narrow.estimate - narrow.low) / (wide.estimate - wide.low) == pytest.approx(0.67449 / 1.95996, rel=1e-4)
    assert "50 % from" in vispec("params", "run", "--level", "0.5").stdout


def test_order_renumbers_all_that_the_classes_index() -> None:
    plain, rising = told(), told("--order", "mu")
    falling = told("--order", "pi")
    widths = [entry.estimate for entry in rising.parameters if entry.name == "mu" and entry.labels[1] == "width"]
    assert widths == sorted(widths)
    shares = {
        name: [e.estimate for e in found.parameters if e.name == "pi"]
        for name, found in (("rising", rising), ("falling", falling))
    }
    assert shares["rising"] == pytest.approx([0.4, 0.6], abs=1e-6)
    assert shares["falling"] == pytest.approx([0.4, 0.6], abs=1e-6)
    assert {(e.name, e.estimate) for e in plain.parameters} == {(e.name, e.estimate) for e in rising.parameters}
    assert [e.index for e in plain.parameters] == [e.index for e in rising.parameters]


def test_order_by_what_has_no_order_is_told() -> None:
    result = vispec("params", "run", "--order", "nothing")
    assert result.exit_code == 1
    assert "mu, pi, s" in result.stderr


def test_a_run_without_stored_estimates_computes_them_from_its_data(folder: Path) -> None:
    kept = (folder / "run" / "estimates.json").read_text()
    (folder / "run" / "estimates.json").unlink()
    assert Estimates.model_validate_json(kept) == told()
    assert (folder / "run" / "estimates.json").read_text() == kept


def test_without_its_data_a_run_has_estimates_alone(folder: Path) -> None:
    kept = folder / "run" / "estimates.json"
    text = kept.read_text()
    (folder / "d.csv").rename(folder / "elsewhere.csv")
    kept.unlink()
    try:
        result = vispec("params", "run")
        assert result.exit_code == 0, result.output
        assert "the training data cannot be read here (d.csv)" in result.stderr
        assert "no standard errors: the training data are not there" in result.stdout
        assert not kept.exists()
    finally:
        (folder / "elsewhere.csv").rename(folder / "d.csv")
        kept.write_text(text)


def test_the_report_has_the_table(folder: Path) -> None:
    page = (folder / "run" / "report.html").read_text()
    assert "<h2>Parameters</h2>" in page
    assert "<td>mu[0, width]</td>" in page


def test_damaged_estimates_are_told(folder: Path) -> None:
    kept = folder / "run" / "estimates.json"
    text = kept.read_text()
    kept.write_text("{}")
    try:
        result = vispec("params", "run")
        assert result.exit_code == 1
        assert "is damaged" in result.stderr
    finally:
        kept.write_text(text)


def test_no_run_is_told() -> None:
    result = vispec("params", "nowhere")
    assert result.exit_code == 1
    assert "no run" in result.stderr


def test_long_parameters_are_listed_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("long.vispec").write_text("param m : real[10500]\nplate n:\n    observed x : real[10500] ~ Normal(m, 1)\n")
    Path("d.jsonl").write_text(json.dumps({"x": [0.5] * 10500}) + "\n")
    result = vispec("fit", "long.vispec", "d.jsonl", "--out", "run", "--threads", "1", "--epochs", "1")
    assert result.exit_code == 0, result.output
    assert "listed by --all, 10,500 numbers" in result.stdout
    short = Estimates.model_validate_json(vispec("params", "run", "--json").stdout)
    assert short.parameters == ()
    whole = Estimates.model_validate_json(vispec("params", "run", "--json", "--all").stdout)
    assert len(whole.parameters) == 10500
    assert whole.folded == ()


def test_an_interruption_in_the_standard_errors_leaves_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vispec.train import fitted

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    Path("m.vispec").write_text("param m : real\nplate n:\n    observed x : real ~ Normal(m, 1)\n")
    Path("d.csv").write_text("x\n1\n2\n")
    with monkeypatch.context() as patch:
        patch.setattr(fitted, "estimate_run", interrupted)
        result = vispec("fit", "m.vispec", "d.csv", "--out", "run", "--threads", "1", "--epochs", "3")
    assert result.exit_code == 0, result.output
    assert "`vispec params run` computes them" in result.stderr
    assert Path("run/report.html").exists()
    assert vispec("params", "run").stdout.startswith("log-probability")
    assert Path("run/estimates.json").exists()
