"""What reaches a terminal, and what happens where nothing does: streams closed, full, or unread; labels that are orders."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.diagnostics import CONTROLS, dump, plain

ROOT = Path(__file__).parents[1]
SPEC = "param a : real\nplate n:\n    observed y : real ~ Normal(a, 1)\n"
LABELS = ["\x1b[31mRED\x1b]0;title\x07", "a\nrow 99", "\x9b2J", "x\u202ey", "ž → 語\u200d"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    (folder / "m.vispec").write_text(SPEC)
    (folder / "d.csv").write_text("y\n0.1\n0.3\n")
    found = CliRunner().invoke(main, ["fit", str(folder / "m.vispec"), str(folder / "d.csv"), "--out", str(folder / "run")])
    assert found.exit_code == 0, found.output
    return folder


def shell(place: Path, line: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a line in which `vispec` is this one."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = f'vispec() {{ "{sys.executable}" -m vispec "$@"; }}; {line}'
    done = subprocess.run(["bash", "-c", script], cwd=place, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "vispec check m.vispec >&-",
        "vispec eval run d.csv >&- 2>&- <&-",
        "vispec fit m.vispec d.csv --out closed >&- 2>&-",
        "vispec fit m.vispec d.csv --out full 2>/dev/full",
        "vispec fit m.vispec d.csv --out deaf 2> >(head -c 1 > /dev/null)",
    ],
)
def test_what_nobody_hears_ends_nothing(place, line):
    code, _, told = shell(place, line)
    assert code == 0, told
    if "--out" in line:
        folder = place / line.split("--out ")[1].split()[0]
        assert {"best.safetensors", "report.html", "estimates.json"} <= {path.name for path in folder.iterdir()}


def test_no_file_becomes_standard_output(place):
    """A descriptor that is closed is the next one to be opened."""
    before = (place / "d.csv").read_bytes()
    code, _, _ = shell(place, "vispec fit m.vispec d.csv --out fresh --json >&- 2>&- <&-")
    assert code == 0
    assert (place / "d.csv").read_bytes() == before
    assert json.loads((place / "fresh" / "config.json").read_text())["name"] == "M"


@pytest.mark.parametrize("command", ["check m.vispec", "eval run d.csv --json", "sample run -n 3", "--help"])
def test_a_full_output_is_told(place, command):
    code, _, told = shell(place, f"vispec {command} > /dev/full")
    assert (code, told) == (1, "error: standard output: No space left on device\n")


def test_a_fit_whose_result_cannot_be_written_is_whole(place):
    code, _, told = shell(place, "vispec fit m.vispec d.csv --out whole > /dev/full")
    assert code == 1
    assert told.endswith("error: standard output: No space left on device\n")
    assert shell(place, "vispec params whole")[0] == 0


# ---- labels


def test_controls_are_shown():
    assert plain("\x1b[31m\n\x9b\u2028") == r"\x1b[31m\n\x9b\u2028"
    assert plain("a\nb\tc", keep="\n\t") == "a\nb\tc"
    assert plain("ž → 語\u200d ünï") == "ž → 語\u200d ünï"
    for code in range(0x3000):
        assert json.loads(dump(chr(code))) == chr(code)
        assert not CONTROLS.search(dump(chr(code)))


def test_no_label_reaches_a_terminal_as_an_order(tmp_path):
    """Labels, words, names of columns and of files, in output, tables and messages."""
    spec = (
        "size K = 2\nvocab V\nparam p : simplex[G]\nparam pi : simplex[K]\nsize G\nplate k[K]:\n    param emit : simplex[V]\n"
        "plate n:\n    latent z : index[k] ~ Categorical(pi)\n    observed g : category[G] ~ Categorical(p)\n"
        "    plate t:\n        observed w : token[V] ~ Categorical(emit[z])\n"
    )
    (tmp_path / "m.vispec").write_text(spec)
    rows = [{"g": LABELS[i % 5], "w": [LABELS[(i + j) % 5] for j in range(3)]} for i in range(20)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "bad.jsonl").write_text(json.dumps({"g\n\x1b[1m": "\x1b[2m", "w": ["a"]}) + "\n")
    (tmp_path / "worse.jsonl").write_text(json.dumps({"g": "\x1b[2m\nnew", "w": ["a"]}) + "\n")
    (tmp_path / "bad.vispec").write_text("param a : real\nparam \x1b[31mx : real\n")
    run, data = tmp_path / "run", tmp_path / "d.jsonl"
    commands = [
        ["fit", tmp_path / "m.vispec", data, "--epochs", "3", "--out", run],
        ["posterior", run, data],
        ["posterior", run, data, "--query", "marginals"],
        ["posterior", run, data, "--jsonl"],
        ["sample", run],
        ["sample", run, "--jsonl"],
        ["predict", run, data],
        ["words", run],
        ["words", run, "--json"],
        ["params", run],
        ["eval", run, tmp_path / "bad.jsonl"],
        ["eval", run, tmp_path / "worse.jsonl"],
        ["check", tmp_path / "bad.vispec"],
        ["check", tmp_path / "bad.vispec", "--json"],
        ["eval", "no\x1b[3msuch\nfile", data],
    ]
    shown = ""
    for words in commands:
        result = CliRunner().invoke(main, [str(word) for word in words], color=True)
        assert result.exit_code in (0, 1), (words, result.output)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", result.output), (words, result.output)
        assert not re.search(r"^\s*row 99", result.output, re.M), (words, result.output)
        shown += result.output
    assert r"\x1b[31mRED" in shown
    assert "ž → 語\u200d" in shown
