"""KL per latent, active units, effective sample size and posterior collapse, where each is known in closed form."""

import json

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.distributions import Gamma, Normal

from vispec.cli.main import main
from vispec.compile import compile_spec
from vispec.source import Source
from vispec.train.scores.diagnostics import COLLAPSED, DRAWS, ROWS, described, diagnose, effective, halves, of_latent

UNITS = """
param slope : real
param spread : positive
param push : real
plate n:
    given    side : real
    latent   z : real[3] ~ Normal(0, 1)
    latent   w : real ~ Normal(push, 1)
    observed x : real ~ Normal(sum(z) + w, 1)
guide:
    z ~ Normal([slope * side, 0.05 * side, 0], spread)
    w ~ Normal(push, 1)
"""
CPU = torch.device("cpu")


class Table:
    """Rows in memory."""

    def __init__(self, **columns: Tensor):
        self.columns = columns

    @property
    def num_rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def batch(self, indices) -> dict[str, Tensor]:
        return {name: column[torch.as_tensor(indices)] for name, column in self.columns.items()}


def module_of(text: str) -> nn.Module:
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    return space["Model"]().double()


def sides(count: int = 1000) -> Tensor:
    return torch.linspace(-3, 3, count, dtype=torch.float64)


def test_kl_and_active_units():
    """z has three units: the mean of the first varies over rows by 3, that of the second by 0.0075, the third is constant."""
    module = module_of(UNITS)
    side = sides()
    with torch.no_grad():
        module.slope.fill_(1.0)
        module.spread = torch.tensor(0.5).double()
    told = diagnose(module, Table(side=side, x=side), 32, CPU)
    assert told is not None
    variance = 0.25
    squares = (side.square() * (1 + 0.05**2)).mean()
    expected = 0.5 * (squares + 3 * (variance - 1 - torch.tensor(variance).log()))
    assert told["rows"] == ROWS
    assert told["latents"]["z"]["kl"] == pytest.approx(float(expected), rel=0.03)
    assert told["latents"]["z"]["active_units"] == 1
    assert told["latents"]["z"]["units"] == 3
    assert not told["latents"]["z"]["collapsed"]


def test_a_guide_that_is_the_prior_has_collapsed():
    module = module_of(UNITS)
    told = diagnose(module, Table(side=sides(), x=sides()), 100, CPU)
    assert told is not None
    assert told["posterior_collapse"] == ["w"]
    assert told["latents"]["w"] == {"kl": 0.0, "collapsed": True, "active_units": 0, "units": 1}
    lines = list(described(told))
    assert any(line.startswith("posterior collapse: w") and str(COLLAPSED) in line for line in lines)
    assert not any(line.startswith("posterior collapse: z") for line in lines)


def test_the_variance_of_posterior_means_is_unbiased():
    """A unit's draws vary, but not its mean: halves of the draws have errors of their own."""
    torch.manual_seed(0)
    drawn = torch.randn(DRAWS, ROWS, 400, dtype=torch.float64)
    told = of_latent([(torch.ones(ROWS), halves(drawn))])
    assert told["active_units"] <= 1
    drawn[..., 0] += torch.linspace(-0.4, 0.4, ROWS)
    assert of_latent([(torch.ones(ROWS), halves(drawn))])["active_units"] >= 1


def test_effective_samples():
    even = torch.zeros(8, 2)
    even[:, 1] = torch.tensor([0.0] + [-torch.inf] * 7)
    assert effective(even).tolist() == pytest.approx([8, 1])
    assert effective(torch.full((8, 1), -torch.inf)).tolist() == [0]
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert effective(weights.log()[:, None]).tolist() == pytest.approx([36 / 14])
    assert effective(weights.log()[:, None] - 5000).tolist() == pytest.approx([36 / 14])


def test_the_exact_posterior_has_even_weights():
    """x = z + noise: the guide that is p(z | x) has the same weight at every draw, so that all count."""
    text = """
param m : real
param s : positive
plate n:
    latent   z : real ~ Normal(0, 1)
    observed x : real ~ Normal(z, 1)
guide:
    z ~ Normal(m * x, s)
"""
    module = module_of(text)
    with torch.no_grad():
        module.m.fill_(0.5)
        module.s = torch.tensor(0.5).double().sqrt()
    data = Table(x=sides(50))
    told = diagnose(module, data, 10, CPU)
    assert told is not None
    assert told["effective_samples"] == pytest.approx(DRAWS)
    with torch.no_grad():
        module.m.fill_(0.0)
    worse = diagnose(module, data, 10, CPU)
    assert worse is not None
    assert worse["effective_samples"] < DRAWS / 2


def test_what_is_ragged_or_a_category_has_no_units():
    text = """
net middle(c: category[2]) -> real = embed(2)
net guess(x: category[3]) -> simplex[2] = embed(4)
net place(x: category[3]) -> (loc: real, scale: positive) = embed(4)
plate n:
    plate i:
        latent   c : category[2] ~ Categorical([0.5, 0.5])
        latent   z : real ~ Normal(middle(c), 1)
        observed x : category[3] ~ Categorical(softmax([z, 0, 1]))
guide:
    c ~ Categorical(guess(x))
    z ~ Normal(place(x))
infer:
    c : score(samples=2)
"""
    module = module_of(text)
    data = Table(x=torch.randint(3, (7, 4)), x_len=torch.tensor([4, 2, 1, 3, 4, 4, 2]))
    told = diagnose(module, data, 3, CPU)
    assert told is not None
    assert {name: latent["units"] for name, latent in told["latents"].items()} == {"c": None, "z": None}
    assert all(latent["kl"] > 0 for latent in told["latents"].values())


def test_what_rows_share_has_one_divergence():
    text = """
param m : real
latent mu : real ~ Normal(0, 1)
plate n:
    observed x : real ~ Normal(mu, 1)
guide:
    mu ~ Normal(m, 1)
"""
    module = module_of(text)
    with torch.no_grad():
        module.m.fill_(2.0)
    told = diagnose(module, Table(x=sides(5)), 5, CPU)
    assert told is not None
    assert (told["shared_kl"], told["shared_kl_error"]) == (pytest.approx(2.0), 0.0)
    assert told["latents"] == {}


def test_the_divergence_of_what_rows_share_is_told_as_well_as_its_error_says():
    module = module_of("""
latent s : positive ~ Gamma(2, 2)
plate n:
    observed x : real ~ Normal(0, s)
guide:
    s ~ LogNormal(-0.35, 0.03)
""")
    told = diagnose(module, Table(x=sides(5)), 5, CPU)
    assert told is not None
    assert told["shared_kl_error"] <= 0.012
    q, p = Normal(-0.35, 0.03), Gamma(2.0, 2.0)
    log_s = torch.linspace(-0.65, -0.05, 20_001, dtype=torch.float64)  # ten deviations to both sides
    truth = torch.trapezoid(q.log_prob(log_s).exp() * (q.log_prob(log_s) - p.log_prob(log_s.exp()) - log_s), log_s)
    assert abs(told["shared_kl"] - float(truth)) < 4 * told["shared_kl_error"]


def test_an_exact_model_has_none():
    text = """
param pi : unit
plate n:
    latent   b : bit ~ Bernoulli(pi)
    observed x : real ~ Normal(b, 1)
"""
    assert diagnose(module_of(text), Table(x=sides(5)), 5, CPU) is None


def test_eval_and_the_runs_report_tell_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.vispec").write_text(UNITS)
    (tmp_path / "d.tsv").write_text("side\tx\n" + "".join(f"{i / 10}\t{i / 5}\n" for i in range(-20, 20)))

    def vispec(*arguments: str) -> str:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == 0, result.output
        return result.stdout

    quick = ("--epochs", "2", "--threads", "1", "--out", "run")
    fitted = json.loads(vispec("fit", "m.vispec", "d.tsv", "--json", *quick))["train"]["diagnostics"]
    found = json.loads(vispec("eval", "run", "d.tsv", "--json"))["diagnostics"]
    assert found == fitted
    assert set(found["latents"]) == {"z", "w"}
    assert 1 <= found["effective_samples"] <= found["samples"]
    assert "KL of z: " in vispec("eval", "run", "d.tsv")
    assert "<li>train: KL of z: " in (tmp_path / "run" / "report.html").read_text()
