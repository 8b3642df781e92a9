"""What a module takes from a batch before its fit: standardised inputs, and nets that start at the mean and the spread."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.data import load
from vispec.train.setup.prepare import check
from vispec.train.store.module import class_of_text

REGRESSION = """size D
net f(x: real[D]) -> (loc: real, scale: positive) = {trunk}
plate n:
    given    x : real[D]
    observed y : real ~ Normal(f(x))
"""
SERIES = """net f(x: real[2]*) -> (loc: real[2], scale: positive[2]) = standardise |> gru(4) |> mean
plate n:
    plate t:
        given x : real[2]
    observed y : real[2] ~ Normal(f(x[*]))
"""


def module_of(text: str, **sizes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    emitted = compile_spec(Source("spec.vispec", text), sizes)
    return class_of_text(emitted, class_of(emitted))().double()


def test_inputs_are_standardised_and_heads_start_at_the_data() -> None:
    module = module_of(REGRESSION.format(trunk="standardise |> mlp([5])"), D=3)
    x = torch.randn(50, 3, dtype=torch.double) * torch.tensor([100.0, 1.0, 0.0]) + torch.tensor([7.0, -900.0, 1987.1])
    batch = {"x": x, "y": torch.randn(50, dtype=torch.double) * 16 + 36}
    module.initialise(batch)
    layer = module.f.standardise
    torch.testing.assert_close(layer.mean, x.mean(0))
    torch.testing.assert_close(layer.deviation, torch.cat([x.std(0, correction=0)[:2], torch.ones(1, dtype=torch.double)]))
    found = layer(x)
    torch.testing.assert_close(found.mean(0), torch.zeros(3, dtype=torch.double))
    torch.testing.assert_close(found[:, :2].std(0, correction=0), torch.ones(2, dtype=torch.double))
    torch.testing.assert_close(module.f.out.bias[0], batch["y"].mean())
    spread = torch.nn.functional.softplus(module.f.out.bias[1])
    torch.testing.assert_close(spread, batch["y"].std(correction=0))
    assert not [name for name, _ in module.named_parameters() if "standardise" in name]
    assert {"f.standardise.mean", "f.standardise.deviation"} <= module.state_dict().keys()


def test_one_row_is_enough() -> None:
    module = module_of(REGRESSION.format(trunk="standardise |> mlp([5])"), D=3)
    batch = {"x": torch.full((1, 3), 1e4, dtype=torch.double), "y": torch.full((1,), -7.0, dtype=torch.double)}
    module.initialise(batch)
    assert all(bool(value.isfinite().all()) for value in module.state_dict().values())
    assert bool(module.log_prob(batch).isfinite().all())


def test_padding_is_no_data() -> None:
    module = module_of(SERIES)
    lengths = torch.tensor([3, 1, 4])
    inside = torch.arange(4) < lengths[:, None]
    x = torch.randn(3, 4, 2, dtype=torch.double) * 50 + 10
    padded = torch.where(inside[..., None], x, 1e9)
    module.initialise({"x": padded, "x_len": lengths, "y": torch.randn(3, 2, dtype=torch.double)})
    torch.testing.assert_close(module.f.standardise.mean, x[inside].mean(0))
    torch.testing.assert_close(module.f.standardise.deviation, x[inside].std(0, correction=0))


def test_random_weights_keep_the_start_of_their_prior() -> None:
    module = module_of(REGRESSION.format(trunk="standardise |> mlp([5]) ~ Normal(0, 1)"), D=3)
    before = module.f.out.bias.clone()
    batch = {"x": torch.randn(50, 3, dtype=torch.double) + 40, "y": torch.randn(50, dtype=torch.double) + 36}
    module.initialise(batch)
    torch.testing.assert_close(module.f.standardise.mean, batch["x"].mean(0))
    torch.testing.assert_close(module.f.out.bias, before)


@pytest.fixture
def table(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    rows = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    text = "\n".join(f"{1 + 0.1 * a:.4f},{2000 + 10 * b:.4f},{36 + 16 * b + c:.4f}" for a, b, c in rows.tolist())
    Path("t.csv").write_text("a,b,y\n" + text + "\n")
    return "t.csv"


@pytest.mark.parametrize(("trunk", "codes"), [("mlp([5])", ["D191"]), ("standardise |> mlp([5])", [])])
def test_large_numbers_for_a_net_are_told(table: str, trunk: str, codes: list[str]) -> None:
    model = check(Source("spec.vispec", REGRESSION.format(trunk=trunk)), {})
    data = load(model, [table], {"x": ("a", "b")})
    assert [warning.code for warning in data.warnings] == codes
    if codes:
        assert "entry 2, mean 200" in data.warnings[0].message
        assert "standardise |>" in str(data.warnings[0].help)
    assert not load(model, [table], {"x": ("a", "b")}, data.encoders, data.sizes).warnings  # told once, of the training data


def test_a_fit_on_raw_numbers(table: str) -> None:
    """y = 36 + 16 b + c, its noise's entropy 1.42 nats: only with scaled inputs does a short fit come near it."""
    Path("spec.vispec").write_text(REGRESSION.format(trunk="standardise |> mlp([20])"))
    arguments = [
        "fit",
        "spec.vispec",
        table,
        "--columns",
        "x=a,b",
        "--epochs",
        "300",
        "--lr",
        "0.01",
        "--threads",
        "1",
        "--json",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["train"]["log_prob_per_row"] > -2.0
    again = CliRunner().invoke(main, ["eval", "runs/spec-1", table, "--columns", "x=a,b", "--json"])
    assert json.loads(again.stdout)["log_prob_per_row"] == pytest.approx(json.loads(result.stdout)["train"]["log_prob_per_row"])
