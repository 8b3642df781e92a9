"""A guide's parameters have the latent's whole shape in a posterior, also where the guide says one value for all elements."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.source import Source

SPECS = {
    "number": ("real", "Normal(0, 1)", "real ~ Normal(a + z, 1)", "Normal(0, 1)", {"loc": (), "scale": ()}),
    "vector": ("real[2]", "Normal(0, 1)", "real ~ Normal(a + sum(z), 1)", "Normal(x, 1)", {"loc": (2,), "scale": (2,)}),
    "simplex": ("simplex[3]", "Dirichlet(1)", "category[3] ~ Categorical(z)", "Dirichlet(2)", {"concentration": (3,)}),
}


@pytest.mark.parametrize("name", SPECS)
def test_shapes(name: str) -> None:
    type_, prior, observed, guide, shapes = SPECS[name]
    text = (
        f"param a : real\nplate n:\n    latent z : {type_} ~ {prior}\n    observed x : {observed}\n\nguide:\n    z ~ {guide}\n"
    )
    if name == "simplex":
        text = text.removeprefix("param a : real\n")
    space: dict = {}
    code = compile_spec(Source("m.vispec", text))
    exec(code, space)
    x = torch.randint(3, (5,)) if name == "simplex" else torch.randn(5)
    found = space[class_of(code)]().posterior({"x": x})["z"]
    assert {key: tuple(value.shape) for key, value in found.items()} == {key: (5, *shape) for key, shape in shapes.items()}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plate = "plate n:\n    latent z : real ~ Normal(0, 1)\n    observed x : real ~ Normal(a + z, 1)\n"
    Path("m.vispec").write_text(f"param a : real\n{plate}guide:\n    z ~ Normal(0, 2)\n")
    Path("d.csv").write_text("x\n1.0\n2.0\n")
    assert CliRunner().invoke(main, ["fit", "m.vispec", "d.csv", "--epochs", "1", "--out", "run"]).exit_code == 0
    told = CliRunner().invoke(main, ["posterior", "run", "d.csv", "--jsonl"])
    assert [json.loads(line) for line in told.output.splitlines()] == [{"z": {"loc": 0.0, "scale": 2.0}}] * 2
