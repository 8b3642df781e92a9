"""A lack of memory is no bug: what asked for how much is named, and what takes less."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.train.memory import size_of

SPEC = """\
size K = 3
param pi : simplex[K]
plate k[K]:
    param mu : real = 0
plate row:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real ~ Normal(mu[c], 1)
"""
FIT = ["fit", "m.vispec", "d.csv", "--set", "optimizer=adam", "--epochs", "1", "--no-verify", "--restarts", "1"]
SHORT = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate {} bytes. Error code 12"


class Full(torch.autograd.Function):
    """A machine that has no room for so many bytes, on the way back."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(SHORT.format(8 * 40 * 3))


def said(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    monkeypatch.chdir(folder)
    Path("m.vispec").write_text(SPEC)
    Path("d.csv").write_text("x\n" + "\n".join(str(i % 7) for i in range(40)) + "\n")
    found = CliRunner().invoke(main, [*FIT, "--json", "--out", "run", *options])
    assert found.exit_code == 1, found.output
    assert "bug" not in found.output
    return json.loads(found.stdout)["error"]


def test_the_value_that_was_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    square = torch.Tensor.square

    def full(x: torch.Tensor) -> torch.Tensor:
        if x.shape == (40, 3) and x.requires_grad:
            raise RuntimeError(SHORT.format(8 * 40 * 3))
        return square(x)

    monkeypatch.setattr(torch.Tensor, "square", full)
    told = said(tmp_path, monkeypatch)
    assert "960 B more were asked for by line" in told
    assert "for `log_x` of the shape (row = 40, c = 3)" in told
    assert "these are 40 rows at once: --batch 5" in told


def test_the_gradient_that_was_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "log_softmax", lambda x, *rest, **more: Full.apply(torch.log_softmax(x, *rest, **more)))
    told = said(tmp_path, monkeypatch)
    assert "on the way back from the loss to its gradient: as much as `log_x` of the shape (row = 40, c = 3) takes" in told


@pytest.mark.parametrize(
    ("message", "amount"),
    [
        (SHORT.format(2801012800), "2.8 GB"),
        ("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has", "20.00 MiB"),
        ("Unable to allocate 2.8 GiB for an array with shape (3,)", "2.8 GiB"),
        ("out of memory", None),
    ],
)
def test_amounts(message: str, amount: str | None) -> None:
    assert size_of(message) == amount
