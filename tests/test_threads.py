"""How many threads a fit takes of the processor, where nobody says."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main

LITTLE = "param m : real\nplate n:\n    observed x : real ~ Normal(m, 1)\n"
MUCH = """\
net f(x: real[100]) -> real = mlp([500])
param s : positive
plate n:
    given x : real[100]
    observed y : real ~ Normal(f(x), s)
"""


@pytest.fixture(autouse=True)
def two():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2  # as before the fit
    torch.set_num_threads(before)


def taken(*more: str) -> int:
    result = CliRunner().invoke(main, ["fit", "m.vispec", "d.jsonl", "--out", "run", *more])
    assert result.exit_code == 0, result.output
    return json.loads(Path("run/config.json").read_text())["settings"]["threads"]


def test_little_work_takes_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    Path("m.vispec").write_text(LITTLE)
    Path("d.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    assert taken() == 1
    Path("run").rename("first")
    assert taken("--threads", "2") == 2


def test_much_work_takes_what_torch_chooses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    Path("m.vispec").write_text(MUCH)
    rows = torch.randn(400, 101).tolist()
    Path("d.jsonl").write_text("".join(json.dumps({"x": row[1:], "y": row[0]}) + "\n" for row in rows))
    assert taken("--epochs", "1") == 2
