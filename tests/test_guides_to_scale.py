"""Bounds of models in natural units: automatic guides reach the posterior, and a change of units changes nothing.

Reference means and deviations are those of Gibbs samplers, two chains of 6,000 draws for the rats and four of 30,000 for the
counties, the first tenth left out; the Monte Carlo error of a mean is below 0.02 of its deviation.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.loop.approach import approach
from vispec.train.loop.units import rounded, step_in_units, with_units
from vispec.train.setup.optimisers import make_optimiser
from vispec.train.store.module import class_of_text

FIT = "fit:\n    decay  : linear\n    epochs : 2000\n"
RATS = """latent ac : real ~ Normal(0, {0})
latent bc : real ~ Normal(0, {0})
latent sa : positive ~ Uniform(0, {1})
latent sb : positive ~ Uniform(0, {1})
latent s  : positive ~ Uniform(0, {1})
plate rat:
    latent a : real ~ Normal(ac, sa)
    latent b : real ~ Normal(bc, sb)
    plate t[5]:
        partial y : real ~ Normal(a + b * (7 * t - 14), s)
infer:
    ac : elbo(samples=1)
    bc : elbo(samples=1)
    sa : elbo(samples=1)
    sb : elbo(samples=1)
    s  : elbo(samples=1)
    a  : elbo(samples=1)
    b  : elbo(samples=1)
"""
# Gelfand, Hills, Racine-Poon and Smith (1990), table 5; some of the later weights taken for missing, as they do
WEIGHTS = """151 199 246 283 320  145 199 249 293 354  147 214 263 312 328  155 200 237 272 297  135 188 230 280 323
159 210 252 298 . 141 189 231 275 . 159 201 248 297 . 177 236 285 350 . 134 182 220 260 .
160 208 261 . . 143 188 220 . . 154 200 244 . . 171 221 270 . . 163 216 242 . .
160 207 248 . . 142 187 234 . . 156 203 243 . . 157 212 259 . . 152 203 246 . .
154 205 . . . 139 190 . . . 146 191 . . . 157 211 . . . 132 185 . . .
160 . . . . 169 . . . . 157 . . . . 137 . . . . 153 . . . ."""
RATS_REFERENCE = {"ac": (245.54, 2.90), "bc": (6.550, 0.154), "sa": (14.22, 2.22), "sb": (0.553, 0.134), "s": (6.26, 0.73)}

COUNTIES = """latent m  : real ~ Normal(0, 100000)
latent b  : real ~ Normal(0, 100000)
latent sa : positive ~ Uniform(0, 100000)
latent s  : positive ~ Uniform(0, 100000)
plate county[25]:
    latent a : real ~ Normal(m, sa)
plate n:
    given c : index[county]
    given floor : bit
    observed y : real ~ Normal(a[c] + b * floor, s)
infer:
    m  : elbo(samples=1)
    b  : elbo(samples=1)
    sa : elbo(samples=1)
    s  : elbo(samples=1)
    a  : elbo(samples=1)
"""
COUNTIES_REFERENCE = {"m": (41114, 1329), "b": (-4273, 1125), "sa": (5267, 1300), "s": (9198, 387)}

INTERCEPTS = """param m : real
plate rat:
    latent a : real ~ Normal(m, 10)
    plate j[3]:
        partial y : real ~ Normal(a, 5)
infer:
    a : elbo(samples=1)
"""


def vispec(*args: str | Path) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stdout


def fitted(folder: Path, spec: str, header: list[str], rows: list[list]) -> None:
    (folder / "model.vispec").write_text(spec + FIT)
    with (folder / "data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    vispec("fit", folder / "model.vispec", folder / "data.csv", "--out", folder / "run", "--threads", "1")


def shared(folder: Path) -> dict[str, dict[str, float]]:
    """Posterior means and deviations of what rows share."""
    lines = vispec("posterior", folder / "run", folder / "data.csv", "--query", "moments", "--jsonl")
    return json.loads(lines.splitlines()[0])["(shared)"]


def near(found: dict, reference: dict[str, tuple[float, float]]) -> None:
    off = {name: (found[name]["mean"] - mean) / sd for name, (mean, sd) in reference.items()}
    assert max(map(abs, off.values())) < 0.2, off


def rats(unit: float = 1.0) -> list[list]:
    cells = ["" if word == "." else float(word) * unit for word in WEIGHTS.split()]
    return [cells[start : start + 5] for start in range(0, 150, 5)]


@pytest.mark.parametrize("unit", [1e-6, 1e3])
def test_rats_with_holes_in_tonnes_and_milligrams(tmp_path: Path, unit: float) -> None:
    spec = RATS.format(f"{1000 * unit:f}", f"{100 * unit:f}")
    fitted(tmp_path, spec, [f"y{t}" for t in range(1, 6)], rats(unit))
    found = shared(tmp_path)
    near(found, {name: (mean * unit, sd * unit) for name, (mean, sd) in RATS_REFERENCE.items()})


def counties() -> list[list]:
    """Incomes in dollars: 25 counties of 1 to 40 households, the reference's data."""
    rng = np.random.default_rng(1)
    n = np.minimum(rng.geometric(0.08, 25), 40)
    c = np.repeat(np.arange(25), n)
    a = 41000 + 6500 * rng.standard_normal(25)
    floor = (rng.random(len(c)) < 0.3).astype(float)
    y = np.round(a[c] - 5200 * floor + 9000 * rng.standard_normal(len(c)), 0)
    return [[int(i), int(f), int(v)] for i, f, v in zip(c, floor, y, strict=True)]


def test_varying_intercepts_in_dollars(tmp_path: Path) -> None:
    fitted(tmp_path, COUNTIES, ["c", "floor", "y"], counties())
    near(shared(tmp_path), COUNTIES_REFERENCE)


@pytest.mark.parametrize("role", ["partial", "observed"])
def test_a_net_from_partial_numbers_reaches_the_likelihood(tmp_path: Path, role: str) -> None:
    """log p in closed form: each row is a Normal with covariance 100 + 25 I around m."""
    torch.manual_seed(0)
    y = 250 + 10 * torch.randn(40, 1) + 5 * torch.randn(40, 3)
    fitted(tmp_path, INTERCEPTS.replace("partial", role), ["y1", "y2", "y3"], y.tolist())
    covariance = torch.full((3, 3), 100.0) + 25 * torch.eye(3)
    exact = torch.distributions.MultivariateNormal(torch.full((3,), float(y.mean())), covariance).log_prob(y).sum().item()
    score = json.loads(vispec("eval", tmp_path / "run", tmp_path / "data.csv", "--json", "--estimator", "iwae(500)"))
    assert score["log_prob"] == pytest.approx(exact, abs=0.5)
    assert score["diagnostics"]["effective_samples"] > 60  # of 64: the guide is near the posterior


def test_standardised_by_what_is_there_and_0_where_it_is_not() -> None:
    source = Source("model.vispec", INTERCEPTS)
    text = compile_spec(source)
    module = class_of_text(text, class_of(text))()
    y = 250 + 10 * torch.randn(50, 3)
    there = torch.rand(50, 3) < 0.6
    there[:, 2] = False
    module.initialise({"y": y.where(there, torch.nan), "y_observed": there})
    layer = module.encode_a.standardise_y
    for column in range(2):
        known = y[there[:, column], column]
        assert float(layer.mean[column]) == pytest.approx(float(known.mean()), rel=1e-5)
        assert float(layer.deviation[column]) == pytest.approx(float(known.std(correction=0)), rel=1e-4)
    assert (float(layer.mean[2]), float(layer.deviation[2])) == (0.0, 1.0)
    found = layer(y, seen=there.float())
    assert (found[~there] == 0).all()
    assert found[there].abs().max() < 5


class Parabola(nn.Module):
    """Minus the log-density of two numbers in very different units, as a bound that draws noise."""

    def __init__(self) -> None:
        super().__init__()
        self.far, self.fine = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))

    def loss(self, batch: dict[str, torch.Tensor], num_data: int) -> torch.Tensor:
        noise = torch.randn(3)
        far = (self.far + 1e3 * noise - batch["far"]) / 1e4
        return num_data * (0.5 * far.square().sum() + 0.5 * ((self.fine - 3e-5) / 1e-6).square().sum())


def test_the_walk_arrives_whatever_the_units_and_learns_them() -> None:
    module = Parabola()
    units = approach(module, {"far": torch.tensor([4e4, -1e6, 7e5])}, 50, ["far", "fine"])
    assert (module.far.detach() - torch.tensor([4e4, -1e6, 7e5])).abs().max() < 3e3
    assert (module.fine.detach() - 3e-5).abs().max() < 1e-6
    assert ((units["far"] / 1e4).log().abs() < 0.7).all()
    assert ((units["fine"] / 1e-6).log().abs() < 0.7).all()


def test_the_walk_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    approach(Parabola(), {"far": torch.zeros(3)}, 50, ["far", "fine"], work=40)
    assert torch.equal(torch.rand(4), expected)


def test_steps_in_units_are_those_of_the_divided_variables() -> None:
    """Adam on x with unit u takes u times the steps that it takes on x / u; a unit of 1 changes nothing, nor does a resume."""
    start = torch.tensor([300.0, 2.0])
    unit = rounded(torch.tensor([90.0, 1.0]))
    assert unit.tolist() == [64.0, 1.0]
    scaled, plain = nn.Parameter(start.clone()), nn.Parameter(start / unit)
    one = with_units(make_optimiser("adam", 0.1, {}, [scaled]))
    step_in_units(one, {scaled: unit})
    other = with_units(make_optimiser("adam", 0.1, {}, [plain]))
    for step in range(20):
        for parameter, factor in ((scaled, torch.ones(2)), (plain, unit)):
            parameter.grad = None
            (0.5 * (parameter * factor - 1).square()).sum().backward()
        one.step()
        other.step()
        if step == 10:
            state = one.state_dict()
            one = with_units(make_optimiser("adam", 0.1, {}, [scaled]))
            one.load_state_dict(state)
        assert torch.equal(scaled.detach(), plain.detach() * unit)
