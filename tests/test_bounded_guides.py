"""Automatic guides where a latent's law has ends: draws stay between them, posteriors are right, modules as brute force."""

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.distributions.real.logit_normal import into_interval, logit_normal_log_prob
from vispec.distributions.real.shifted_log_normal import above_end, shifted_log_normal_log_prob
from vispec.source import Source
from vispec.train.estimates.values import Estimates
from vispec.train.store.module import class_of_text
from vispec.verify.verify import verify

UNIFORM = """latent m : real ~ Uniform(0, 10)
plate n:
    observed y : real ~ Normal(m, 1)
"""
PARETO = """latent a : positive ~ Pareto(1, 3)
plate n:
    observed y : positive ~ Exponential(a)
"""
SHARED = """size G = 3
param top : positive
latent s : positive ~ Uniform(0, 100)
latent u : unit ~ Uniform(0.2, 0.7)
latent t : real ~ Uniform(-top, s)
latent c : real ~ VonMises(0, 0.5)
latent h : positive ~ HalfCauchy(2)
latent q : positive ~ TruncatedNormal(1, 2)
plate g[G]:
    latent b : real ~ Uniform(-5, 5 * u)
    latent e : positive ~ Pareto(s, 3)
plate n:
    given k : index[g]
    observed y : real ~ Normal(b[k] + t + u + c + e[k] + h + q, s)
"""
ROWS = """latent s : positive ~ HalfNormal(1)
plate n:
    given x : real
    latent w : real[2] ~ Uniform(-s, 3)
    latent v : positive ~ Pareto(1, 2) if x > 0 else Pareto(2, 2)
    latent u : unit ~ Uniform(0, 0.5)
    partial z : real ~ Uniform(-1, 1 + s)
    observed y : real ~ Normal(sum(w) + v + u + z, s)
"""
CHAIN = """latent r : positive ~ HalfNormal(1)
plate n:
    chain t[3]:
        latent a : real ~ VonMises(0, 1) then VonMises(a[t-1], 3)
        latent h : real ~ Uniform(0, 1) then Uniform(h[t-1], h[t-1] + r)
        latent e : positive ~ HalfCauchy(1) then Pareto(e[t-1], 2)
        observed y : real ~ Normal(a + h + e, 1)
"""
SUMMED = """plate n:
    latent f : bit ~ Bernoulli(0.3)
    latent z : real ~ Uniform(-1, 1) if f else Uniform(0, 2)
    observed y : real ~ Normal(z, 1)
"""


def vispec(*args: str | Path) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stdout


FIT = "fit:\n    decay : linear\n    epochs : 1500\n"


def moments(folder: Path, spec: str) -> dict[str, dict[str, float]]:
    """Posterior means and deviations of what rows share, by a short fit."""
    (folder / "model.vispec").write_text(spec + FIT)
    (folder / "d.csv").write_text("y\n0.5\n0.2\n0.9\n0.1\n")
    vispec("fit", folder / "model.vispec", folder / "d.csv", "--out", folder / "run", "--threads", "1")
    lines = vispec("posterior", folder / "run", folder / "d.csv", "--query", "moments", "--jsonl")
    return json.loads(lines.splitlines()[0])["(shared)"]


def module_of(spec: str) -> torch.nn.Module:
    source = Source("model.vispec", spec)
    text = compile_spec(source)
    return class_of_text(text, class_of(text))()


def moments_on(grid: torch.Tensor, log_density: torch.Tensor) -> tuple[float, float]:
    weight = log_density.softmax(0)
    mean = float((weight * grid).sum())
    return mean, math.sqrt(float((weight * (grid - mean) ** 2).sum()))


@pytest.mark.parametrize("joint", ["", "guide:\n    auto(full_rank)\n"])
def test_a_uniform_prior_has_the_posterior_that_is_cut_at_its_ends(tmp_path: Path, joint: str) -> None:
    found = moments(tmp_path, UNIFORM + joint)["m"]
    assert found["mean"] == pytest.approx(0.598, abs=0.2 * 0.383)  # N(0.425, 0.5) cut to [0, 10]
    assert found["sd"] == pytest.approx(0.383, rel=0.3)
    (entry,) = Estimates.model_validate_json(vispec("params", tmp_path / "run", "--json", "--level", "0.999")).parameters
    assert entry.ends == (0, 10)
    assert 0 < (entry.low or 0) < entry.estimate < (entry.high or 10) < 10


def test_a_pareto_prior_has_the_posterior_above_its_scale(tmp_path: Path) -> None:
    found = moments(tmp_path, PARETO)["a"]
    grid = torch.linspace(1, 40, 40_000, dtype=torch.float64)
    mean, sd = moments_on(grid, -4 * grid.log() + 4 * grid.log() - 1.7 * grid)
    assert found["mean"] == pytest.approx(mean, abs=0.2 * sd)
    assert Estimates.model_validate_json(vispec("params", tmp_path / "run", "--json")).parameters[0].low > 1  # type: ignore[operator]
    assert sd < found["sd"] < 2 * sd  # a log-normal's tail is longer: e - 1 times the variance at the best bound


@pytest.mark.parametrize("spec", [UNIFORM, UNIFORM.replace("m : real", "m : positive"), PARETO])
def test_the_family_is_named(tmp_path: Path, spec: str) -> None:
    (tmp_path / "model.vispec").write_text(spec)
    assert f"guide {'LogitNormal' if 'Uniform' in spec else 'ShiftedLogNormal'}" in vispec("check", tmp_path / "model.vispec")


@pytest.mark.parametrize(
    "spec",
    [
        SHARED,
        SHARED + "guide:\n    auto(full_rank)\n",
        SHARED + "guide:\n    auto(low_rank)\n",
        UNIFORM + "guide:\n    auto(flow)\n",
        SHARED + "infer:\n    s : map()\n    b : map()\n    e : map()\n    c : map()\n    u : map()\n",
        SHARED + "infer:\n    s : elbo(samples=3)\n",
        UNIFORM + "infer:\n    m : elbo(samples=2, gradient=stl)\n",
        ROWS,
        ROWS + "infer:\n    w : iwae(samples=3)\n    v : iwae(samples=3, gradient=dreg)\n",
        CHAIN,
        SUMMED,
    ],
)
def test_modules_agree_with_brute_force(spec: str) -> None:
    report = verify(Source("ends.vispec", spec))
    assert not report.differs, str(report)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_stay_between_the_ends_however_far_the_guide_is(dtype: torch.dtype) -> None:
    module = module_of(SHARED).to(dtype)
    for far in (-200.0, -20.0, 20.0, 200.0):
        with torch.no_grad():
            module.u_loc.fill_(far)  # type: ignore[operator]
        *draws, ratio = module.shared()  # type: ignore[operator]
        assert 0.2 - 1e-7 <= float(draws[1]) <= 0.7 + 1e-7
        assert bool(ratio.isfinite()), far


@pytest.mark.parametrize("far", [-60.0, 60.0])
def test_a_point_lies_between_the_ends_and_has_a_density_there(far: float) -> None:
    module = module_of(SHARED + "infer:\n    u : map()\n    t : map()\n    e : map()\n")
    with torch.no_grad():
        for name in ("u", "t", "e"):
            getattr(module, f"raw_{name}_point").fill_(far)
    *_, ratio = module.shared()  # type: ignore[operator]
    assert bool(ratio.isfinite())


def test_map_finds_the_end_where_the_data_lie_beyond_it(tmp_path: Path) -> None:
    spec = UNIFORM.replace("Uniform(0, 10)", "Uniform(-3, 0.25)") + "infer:\n    m : map()\n"
    (tmp_path / "model.vispec").write_text(spec)
    (tmp_path / "d.csv").write_text("y\n0.5\n0.2\n0.9\n0.1\n")
    vispec("fit", tmp_path / "model.vispec", tmp_path / "d.csv", "--out", tmp_path / "run", "--epochs", "600", "--lr", "0.1")
    score = json.loads(vispec("eval", tmp_path / "run", tmp_path / "d.csv", "--json"))["log_prob"]
    exact = sum(-0.5 * (y - 0.25) ** 2 - 0.5 * math.log(2 * math.pi) for y in (0.5, 0.2, 0.9, 0.1))
    assert score == pytest.approx(exact, abs=0.02)


def test_a_guide_on_a_circle_does_not_count_its_turns_as_entropy() -> None:
    """With nothing to learn from, the bound of a wide guide is below the log-probability 0, as that of any other is."""
    module = module_of("latent c : real ~ VonMises(0, 0.01)\nplate n:\n    observed y : real ~ Normal(0 * c, 1)\n").double()
    for scale in (1.0, 10.0, 100.0):
        with torch.no_grad():
            module.raw_c_scale.fill_(scale)  # type: ignore[operator]
        torch.manual_seed(0)
        assert sum(module.shared()[-1].item() for _ in range(2000)) / 2000 < 0.05  # type: ignore[operator]


def test_what_a_draw_is_made_of_scores_it() -> None:
    """log q by the number on the line less the gain is the density of the value."""
    x, loc, scale = torch.linspace(-6, 6, 25, dtype=torch.float64), torch.tensor(0.3).double(), torch.tensor(1.7).double()
    low, high = torch.tensor(-1.5).double(), torch.tensor(4.0).double()
    base = torch.distributions.Normal(loc, scale).log_prob(x)
    value, gain = into_interval(x, low, high)
    torch.testing.assert_close(base - gain, logit_normal_log_prob(value, loc, scale, low, high))
    value, gain = above_end(x, low)
    torch.testing.assert_close(base - gain, shifted_log_normal_log_prob(value, loc, scale, low))


REFUSED = {
    "a guide over the line": UNIFORM + "param l : real\nguide:\n    m ~ Normal(l, 1)\n",
    "a guide from 0 up": PARETO + "param l : real\nguide:\n    a ~ LogNormal(l, 1)\n",
    "ends under a condition": """plate n:
    given x : bit
    latent a : real ~ Uniform(0, 10) if x else Normal(0, 1)
    observed y : real ~ Normal(a, 1)
""",
    "a point whose ends change": """chain t[3]:
    latent h : real ~ Uniform(0, 1) then Uniform(h[t-1], 2)
plate n:
    observed y : real ~ Normal(sum(h[*]), 1)
infer:
    h : map()
""",
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_has_no_right_guide_is_a_diagnostic_with_a_way_out(why: str) -> None:
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", REFUSED[why]))
    assert {d.code for d in caught.value.diagnostics} == {"V714"}
    assert all(d.help for d in caught.value.diagnostics)


def test_a_guide_may_be_written_with_the_same_ends() -> None:
    spec = UNIFORM + "param l : real\nguide:\n    m ~ LogitNormal(l, 1, 0, 10)\n"
    report = verify(Source("ends.vispec", spec))
    assert not report.differs, str(report)
