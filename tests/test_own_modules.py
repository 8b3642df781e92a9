"""A `python("package.module:Class")` that is not as it must be: one line with its name and the reason, and no bug here."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vispec.cli.main import main

MINE = """
import torch
from torch import nn


class Right(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.line = nn.Linear(1, features)

    def forward(self, y):
        return self.line(y[..., None])


class WithoutFeatures(nn.Module):
    def forward(self, y):
        return y


class WithoutArguments(Right):
    def forward(self):
        return self.line(torch.zeros(1, 1))


class TooWide(Right):
    def __init__(self, features):
        super().__init__(features + 1)


class Raising(Right):
    def forward(self, y):
        raise ValueError("nothing of the kind")
"""
SPEC = """
net f(y: real) -> real = python("{path}", features=4)
plate n:
    given    y : real
    observed x : real ~ Normal(f(y), 1)
"""
WRONG = {
    "my_own_nets:WithoutFeatures": "unexpected keyword argument 'features'",
    "my_own_nets:WithoutArguments": "takes 1 positional argument but 2 were given",
    "my_own_nets:TooWide": "shapes cannot be multiplied",
    "my_own_nets:Raising": "ValueError: nothing of the kind",
    "my_own_nets:Absent": "cannot import name 'Absent'",
    "no_such_package.nets:Net": "No module named 'no_such_package'",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_own_nets.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "d.csv").write_text("y,x\n1,2\n2,3\n3,5\n", encoding="utf-8")
    return tmp_path


def fit(here: Path, path: str) -> Result:
    (here / "a.vispec").write_text(SPEC.format(path=path), encoding="utf-8")
    words = ["fit", here / "a.vispec", here / "d.csv", "--out", here / "run", "--epochs", 1, "--no-verify"]
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_with_it_is_said(here: Path, path: str) -> None:
    told = fit(here, path)
    assert told.exit_code == 1
    (line,) = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f'error: python("{path}")')
    assert WRONG[path] in line


def test_a_run_whose_module_has_gone_is_not_damaged(here: Path) -> None:
    assert fit(here, "my_own_nets:Right").exit_code == 0
    (here / "my_own_nets.py").write_text("", encoding="utf-8")
    for name in [name for name in sys.modules if name == "my_own_nets" or name.startswith("vispec_run_")]:
        del sys.modules[name]
    told = CliRunner().invoke(main, ["predict", "--trust", str(here / "run"), str(here / "d.csv")])
    assert told.exit_code == 1
    assert 'python("my_own_nets:Right") cannot be imported' in told.stderr
