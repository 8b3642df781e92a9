"""A fit to data in a file is that of data in memory; killed and resumed it goes on with the same rows, and reads nothing."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.train.data.cached import load as cached
from vispec.train.data.readers import text

SPEC = """
vocab V(min_count=2, end=true)
net say(prefix: token[V]*) -> simplex[V] = lstm(embed=8, hidden=8)
plate n:
    chain i:
        observed x : token[V] ~ Categorical(say(x[<i]))
fit:
    batch : 8
    epochs : 15
    valid : 0.2
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(text, "PART", 300)
    draw = random.Random(0)
    lines = (" ".join(draw.choice("abcdefgh") for _ in range(draw.randint(1, 9))) for _ in range(150))
    (tmp_path / "x.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "m.vispec").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit(*options: str) -> str:
    result = CliRunner().invoke(main, ["fit", "m.vispec", "x.txt", "--no-verify", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_killed_fit_goes_on_with_the_same_rows(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit("--out", "memory", "--cache", "never", "--threads", "1")
    command = [sys.executable, "-m", "vispec", "fit", "m.vispec", "x.txt", "--no-verify", "--out", "file", "--cache", "kept"]
    process = subprocess.Popen([*command, "--threads", "1", "--save-every", "0.001"], stderr=subprocess.PIPE)
    while process.poll() is None and not (files / "file" / "last.safetensors").exists():
        time.sleep(0.005)
    process.kill()
    assert b"D185" in process.communicate()[1]
    assert process.returncode < 0, "it had ended before it was killed"
    monkeypatch.setattr(cached, "_make", None)  # nothing is read again
    monkeypatch.setattr(cached, "load_whole", None)
    assert "resuming" in fit("--out", "file", "--cache", "kept", "--resume")
    best = [(files / folder / "best.safetensors").read_bytes() for folder in ("memory", "file")]
    assert best[0] == best[1]


def test_what_is_kept_is_listed_and_cleared(files: Path) -> None:
    fit("--out", "run", "--cache", "kept", "--epochs", "1")
    listed = CliRunner().invoke(main, ["cache", "kept"])
    assert "150 rows" in listed.output
    assert "removed" in CliRunner().invoke(main, ["cache", "kept", "--clear"]).output
    assert "nothing is kept" in CliRunner().invoke(main, ["cache", "kept"]).output
    assert not [*(files / "kept").rglob("*.arrow")]
