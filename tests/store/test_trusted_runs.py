"""What a run is held against when it is opened or resumed, who may fit in its folder, and what --trust takes."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.train.store.module import load_module

ROOT = Path(__file__).parents[2]
TOPICS = """\
vocab V
size K = 2
param pi : simplex[K]
plate k[K]:
    param emit : simplex[V]
plate n:
    latent c : index[k] ~ Categorical(pi)
    plate t:
        observed w : token[V] ~ Categorical(emit[c])
"""
LINE = """\
param a : real
param s : positive
plate n:
    observed y : real ~ Normal(a, s)
"""


def vispec(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def topics(tmp_path):
    """A fitted run in `run`, with a vocabulary."""
    (tmp_path / "m.vispec").write_text(TOPICS)
    (tmp_path / "d.txt").write_text("a b c\nb c d\ne a a\nb b c\n" * 4)
    found = vispec("fit", tmp_path / "m.vispec", tmp_path / "d.txt", "--epochs", 3, "--threads", 1, "--out", tmp_path / "run")
    assert found.exit_code == 0, found.output
    return tmp_path


def line(folder: Path, *options: object, out: str = "run"):
    """A fit of a line by gradient steps."""
    settings = ("--set", "optimizer=adam", "--threads", 1, "--out", folder / out)
    return vispec("fit", folder / "m.vispec", folder / "d.csv", *settings, *options)


@pytest.fixture
def fitted(tmp_path):
    """A run of LINE with five epochs."""
    (tmp_path / "m.vispec").write_text(LINE)
    (tmp_path / "d.csv").write_text("y\n" + "".join(f"{i / 10}\n" for i in range(20)))
    found = line(tmp_path, "--epochs", 5)
    assert found.exit_code == 0, found.output
    return tmp_path


# ---- files of the run


@pytest.mark.parametrize("edit", ["cut", "lost", "gained", "swapped", "gone", "empty"])
def test_a_changed_vocabulary_is_refused(topics, edit):
    path = topics / "run" / "vocab" / "V.txt"
    lines = path.read_text().splitlines(keepends=True)
    edited = {
        "cut": lines[:3],
        "lost": lines[:1] + lines[2:],
        "gained": [*lines, "f\n"],
        "swapped": [lines[0], lines[2], lines[1], *lines[3:]],
        "gone": None,
        "empty": [],
    }[edit]
    path.unlink() if edited is None else path.write_text("".join(edited))
    for words in (
        ("eval", topics / "run", topics / "d.txt"),
        ("words", topics / "run"),
        ("posterior", topics / "run", topics / "d.txt"),
    ):
        found = vispec(*words)
        assert found.exit_code == 1, (words, found.output)
        assert "V.txt" in found.output


def test_a_foreign_module_is_run_on_trust_only(topics):
    path, witness = topics / "run" / "module.py", topics / "witness"
    path.write_text(path.read_text() + f"\nopen({str(witness)!r}, 'w').close()\n")
    found = vispec("eval", topics / "run", topics / "d.txt")
    assert found.exit_code == 1
    assert "module.py is damaged, or was changed since it was written; --trust" in found.output
    assert not witness.exists()
    assert vispec("eval", topics / "run", topics / "d.txt", "--trust").exit_code == 0
    assert witness.exists()


def test_a_run_without_a_manifest_is_compiled_anew(topics):
    """As those of 0.1.0 are: their module.py is nobody's."""
    run, witness = topics / "run", topics / "witness"
    before = json.loads(vispec("eval", run, topics / "d.txt", "--json").stdout)
    (run / "manifest.json").unlink()
    (run / "module.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    found = vispec("eval", run, topics / "d.txt", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == before
    assert "compiled anew from its spec" in found.stderr
    resumed = vispec("fit", topics / "m.vispec", topics / "d.txt", "--epochs", 6, "--out", run, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert not witness.exists()
    assert "class" in (run / "module.py").read_text()
    assert vispec("eval", run, topics / "d.txt").stderr == ""  # it has a manifest now
    (run / "manifest.json").unlink()
    (run / "module.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    assert "defines no module" in vispec("eval", run, topics / "d.txt", "--trust").output
    assert witness.exists()


@pytest.mark.parametrize("content", ["", "class M(", "import no_such_module\n", "x = y\n", "x = 1\n"])
def test_damage_that_is_trusted_is_no_bug(topics, content):
    (topics / "run" / "module.py").write_text(content)
    found = vispec("eval", topics / "run", topics / "d.txt", "--trust")
    assert found.exit_code == 1
    assert "module.py" in found.output


def test_damaged_metrics_end_no_fit(fitted):
    path = fitted / "run" / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"', b"$", 1))
    assert "metrics.jsonl is damaged" in line(fitted, "--resume").output
    found = line(fitted, "--resume", "--epochs", 8)
    assert found.exit_code == 0, found.output
    assert "the curves begin here" in found.stderr
    assert vispec("params", fitted / "run").exit_code == 0


# ---- data


@pytest.mark.parametrize("option", [(), ("--check-data",)])
def test_data_changed_in_place_are_refused(fitted, option):
    data = fitted / "d.csv"
    text, times = data.read_text(), data.stat()
    data.write_text(text.replace("0.7", "0.8", 1))
    if option:  # a change that size and time do not show
        os.utime(data, ns=(times.st_atime_ns, times.st_mtime_ns))
    found = line(fitted, "--resume", "--epochs", 8, *option)
    assert found.exit_code == 1
    assert "d.csv has changed since the fit began; --trust" in found.output
    (fitted / "run" / "estimates.json").unlink()
    told = vispec("params", fitted / "run")
    assert ("the training data have changed" in told.output) == (not option)
    assert line(fitted, "--resume", "--epochs", 8, *option, "--trust").exit_code == 0
    assert line(fitted, "--resume", "--epochs", 9, *option).exit_code == 0  # what was trusted is what there is


def test_data_that_were_only_written_again_are_the_same(fitted):
    (fitted / "d.csv").write_bytes((fitted / "d.csv").read_bytes())
    os.utime(fitted / "d.csv", (1, 1))
    assert line(fitted, "--resume", "--epochs", 8, "--check-data").exit_code == 0


def test_validation_data_count_too(fitted):
    (fitted / "v.csv").write_text("y\n1\n2\n")
    assert line(fitted, "--valid", fitted / "v.csv", "--epochs", 5, out="other").exit_code == 0
    (fitted / "v.csv").write_text("y\n1\n3\n")
    os.utime(fitted / "v.csv", (1, 1))
    found = line(fitted, "--valid", fitted / "v.csv", "--epochs", 8, "--resume", out="other")
    assert "v.csv has changed" in found.output


# ---- one fit in a folder


def process(folder: Path, *options: str) -> subprocess.Popen:
    words = ["fit", "m.vispec", "d.csv", "--set", "optimizer=adam", "--threads", "1", "--out", "both", "--save-every", "0.1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "vispec", *words, *options]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_a_folder_is_fitted_by_one_process_and_free_when_it_is_killed(fitted):
    first = process(fitted, "--epochs", "1000000")
    try:
        end = time.monotonic() + 60
        while not (fitted / "both" / "last.safetensors").exists():
            assert first.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        for options in (("--epochs", "1000000", "--resume"), ("--epochs", "3", "--resume")):
            second = process(fitted, *options)
            _, told = second.communicate(timeout=60)
            assert second.returncode == 1, told
            assert re.search(rf"both is being fitted by process {first.pid};", told), told
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    third = line(fitted, "--epochs", 3, "--save-every", 0.1, out="both")
    assert "holds a run already" in third.output
    settings = ("--set", "optimizer=adam", "--threads", 1, "--out", fitted / "both", "--resume")
    assert "other data" in vispec("fit", fitted / "m.vispec", fitted / "d.csv", *settings).output  # the lock is free


def test_two_that_begin_at_once(fitted):
    """Both find the folder empty; one of them has it."""
    pair = [process(fitted, "--epochs", "400", "--seed", str(seed)) for seed in (1, 2)]
    told = [each.communicate(timeout=120)[1] for each in pair]
    codes = [each.returncode for each in pair]
    assert sorted(codes) == [0, 1], told
    loser = told[codes.index(1)]
    assert "both is being fitted by process" in loser or "both holds a run already" in loser
    seed = json.loads((fitted / "both" / "config.json").read_text())["settings"]["seed"]
    assert seed == codes.index(0) + 1
    ends = [json.loads(each)["event"] for each in (fitted / "both" / "metrics.jsonl").read_text().splitlines()]
    assert ends.count("end") == 1


def test_bytecode_beside_a_module_is_not_run(tmp_path: Path) -> None:
    """Python would take a `.pyc` of the file's time and size for the file; nor is one left there."""
    path, text = tmp_path / "module.py", "told = 'the text'\n"
    path.write_text(text)
    kept = Path(importlib.util.cache_from_source(str(path)))
    code = compile("told = 'the cache'", str(path), "exec")
    kept.parent.mkdir()
    found = path.stat()
    kept.write_bytes(importlib._bootstrap_external._code_to_timestamp_pyc(code, int(found.st_mtime), found.st_size))  # type: ignore[attr-defined]
    assert load_module(path).told == "the text"
    other = tmp_path / "other.py"
    other.write_text(text)
    load_module(other)
    assert [each.name for each in kept.parent.iterdir()] == [kept.name]
