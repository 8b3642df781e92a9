"""`vispec params` on runs that are old, unfinished or damaged: a table, or a sentence that says what is wrong."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.train.estimates.values import Estimates

SPEC = """size K = 2
vocab W
param pi : simplex[K]
plate k[K]:
    param phi : simplex[W]
    param rate : positive
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed w : token[W] ~ Categorical(phi[c])
    observed y : count ~ Poisson(rate[c])
"""
FILES = ["config.json", "metrics.jsonl", "best.safetensors", "module.py", "spec.vispec", "estimates.json", "vocab/W.txt"]
DAMAGES = ["gone", "empty", "cut", "rubbish"]


def vispec(*arguments: str | Path):
    """The result of a command; whatever it is, no exception comes through."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished `run`."""
    place = tmp_path_factory.mktemp("runs")
    (place / "m.vispec").write_text(SPEC)
    (place / "d.csv").write_text("w,y\n" + "".join(f"{'aab'[i % 3]},{i % 3 * 5 + i % 2}\n" for i in range(30)))
    result = vispec("fit", place / "m.vispec", place / "d.csv", "--out", place / "run", "--threads", "1", "--restarts", "2")
    assert result.exit_code == 0, result.output
    return place


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(whole / "run", tmp_path / "run"))


def test_these_are_files_of_a_run(run: Path) -> None:
    assert [name for name in FILES if not (run / name).exists()] == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_told_or_not_needed(run: Path, file: str, damage: str) -> None:
    content = (run / file).read_bytes()
    if damage == "gone":
        (run / file).unlink()
    else:
        (run / file).write_bytes({"empty": b"", "cut": content[: len(content) // 2], "rubbish": b"\x80\x00rubbish\n"}[damage])
    result = vispec("params", run, "--json")
    assert result.exit_code in (0, 1), result.output
    if result.exit_code == 0:
        assert Estimates.model_validate_json(result.stdout).parameters
    else:
        assert "ok" in json.loads(result.stdout)
        assert result.stderr.startswith("error: ") or "error[" in result.stderr


@pytest.mark.parametrize("line", ["\x80", "rubbish", "[1]", "{}"])
def test_a_damaged_line_of_metrics_is_told(run: Path, line: str) -> None:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0], line, *lines[1:]]) + "\n", encoding="latin-1")
    result = vispec("params", run)
    assert result.exit_code == 1
    assert "metrics.jsonl is damaged, or was changed since it was written" in result.stderr
    result = vispec("params", run, "--trust")
    assert result.exit_code == 1
    assert "metrics.jsonl is damaged in line 2" in result.stderr


def test_a_run_of_an_older_version(run: Path) -> None:
    """Without estimates, and with a configuration that does not know what came later; computed once and then kept."""
    kept = Estimates.model_validate_json((run / "estimates.json").read_bytes())
    config = json.loads((run / "config.json").read_text())
    for key in ("gathered", "lengths", "start"):
        config.pop(key)
    config["settings"].pop("precision")
    config["settings"].pop("least")
    (run / "config.json").write_text(json.dumps(config | {"vispec": "0.1.0"}))
    (run / "estimates.json").unlink()
    (run / "manifest.json").unlink()
    found = Estimates.model_validate_json(vispec("params", run, "--json").stdout)
    assert [entry.title for entry in found.parameters] == [entry.title for entry in kept.parameters]
    assert [entry.estimate for entry in found.parameters] == pytest.approx(
        [entry.estimate for entry in kept.parameters], rel=1e-5
    )
    assert (run / "estimates.json").exists()


def test_a_run_that_goes_on(run: Path) -> None:
    """The estimates that the folder has are of an earlier end: those of its best parameters are shown, and not kept."""
    (run / "estimates.json").unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines if json.loads(line)["event"] != "end"))
    found = Estimates.model_validate_json(vispec("params", run, "--json", "--trust").stdout)
    assert found.parameters
    assert found.converged is None
    assert not (run / "estimates.json").exists()


def test_a_run_without_parameters_yet(run: Path) -> None:
    for name in ("best.safetensors", "last.safetensors", "estimates.json", "metrics.jsonl", "report.html"):
        (run / name).unlink()
    result = vispec("params", run)
    assert result.exit_code == 1
    assert "holds no parameters yet" in result.stderr


def test_a_folder_that_is_no_run_and_a_file(whole: Path) -> None:
    for place in (whole, whole / "d.csv", whole / "nowhere"):
        result = vispec("params", place)
        assert result.exit_code in (1, 2)
        assert str(place) in result.stderr
