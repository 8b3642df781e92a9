"""Predictions of missing numbers, against sums and quadrature of log_prob with the cell filled in, since
exp(log p(x, seen) − log p(seen)) is the predictive density, whatever is summed."""

import math

import pytest
import torch
from torch import Tensor, nn

from tests.random.compare import loaded
from vispec.compile import compile_spec
from vispec.source import Source

MIXTURE = """\
param w : simplex[3]
param s : positive
plate k[3]:
    param mu : real
plate n:
    latent z : index[k] ~ Categorical(w)
    plate j[2]:
        partial x : real ~ Normal(mu[z], s)
"""
CHAIN = """\
param a : unit
param b : real
param s : positive
plate n:
    chain t[3]:
        latent z : bit ~ Bernoulli(0.3) then Bernoulli(a if z[t-1] else 0.2)
        partial x : real ~ Normal(0, 1) then Laplace(b, s) if z else Normal(-1, s)
"""
COUNTS = """\
param p : unit
param r : positive
plate n:
    latent z : bit ~ Bernoulli(p)
    plate j[2]:
        partial x : count ~ Zero() if z else Poisson(r)
"""
GROUPS = """\
param r : positive
param p : unit
plate n:
    latent size : index[m] ~ Uniform()
    plate m[4]:
        given g : bit
    plate j[2]:
        partial x : count ~ Binomial(size, p)
"""
LABELS = """\
param w : simplex[2]
plate k[2]:
    param v : simplex[3]
    param shape : positive
plate n:
    latent z : index[k] ~ Categorical(w)
    partial c : category[3] ~ Categorical(v[z])
    plate j[2]:
        partial x : positive ~ Gamma(shape[z] + 1, 2 if c == 1 else 1)
"""
SPECS = {"mixture": MIXTURE, "chain": CHAIN, "counts": COUNTS, "groups": GROUPS, "labels": LABELS}
CELL = (0, 1)


def made(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """A module in float64 and a batch of one row, of which one cell of x is missing, and of labels all."""
    torch.manual_seed(1)
    module = loaded(compile_spec(Source("spec.vispec", SPECS[name])))
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter, dtype=torch.float64)
    width = 3 if name == "chain" else 2
    seen = torch.tensor([[1.0, 0.0, 2.0][:width]], dtype=torch.float64)
    batch = {"x": seen, "x_observed": torch.tensor([[True, False, True][:width]])}
    batch |= {"g": torch.zeros(1, 4, dtype=torch.float64)} if name == "groups" else {}
    batch |= {"c": torch.tensor([0]), "c_observed": torch.tensor([False])} if name == "labels" else {}
    return module.double(), batch


def densities(module: nn.Module, batch: dict[str, Tensor], at: Tensor) -> Tensor:
    """The predictive density of the cell at each value."""
    many = {name: value.expand(len(at), *value.shape[1:]).clone() for name, value in batch.items()}
    base = module.log_prob(many)  # pyright: ignore[reportCallIssue]
    many["x"][:, 1], many["x_observed"][:, 1] = at, True
    return (module.log_prob(many) - base).exp().detach()  # pyright: ignore[reportCallIssue]


def cell(module: nn.Module, batch: dict[str, Tensor], rule: str) -> Tensor:
    return module.predict(batch, rule=rule)["x"][CELL]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", ["mixture", "chain", "labels"])
def test_numbers_by_quadrature(name: str) -> None:
    module, batch = made(name)
    low, high = (1e-9, 60.0) if name == "labels" else (-40.0, 40.0)
    at = torch.linspace(low, high, 400_001, dtype=torch.float64)
    p = densities(module, batch, at)
    mass = torch.cumulative_trapezoid(p, at)
    torch.testing.assert_close(mass[-1], torch.ones((), dtype=torch.float64), rtol=1e-6, atol=1e-6)
    mean = torch.trapezoid(p * at, at)
    torch.testing.assert_close(cell(module, batch, "mean"), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cell(module, batch, "mode"), at[p.argmax()], rtol=1e-4, atol=2e-4)
    for level, found in zip((0.05, 0.5, 0.95), cell(module, batch, "quantiles(.05, .5, .95)"), strict=True):
        below = mass[torch.searchsorted(at[1:], found).clamp(max=len(mass) - 1)]
        assert abs(float(below) - level) < 5e-4
    assert cell(module, batch, "median") == cell(module, batch, "quantiles(0.5)")[0]


@pytest.mark.parametrize("name", ["counts", "groups"])
def test_counts_by_sums(name: str) -> None:
    module, batch = made(name)
    at = torch.arange(60, dtype=torch.float64)
    p = densities(module, batch, at)
    torch.testing.assert_close(p.sum(), torch.ones((), dtype=torch.float64), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(cell(module, batch, "mean"), (p * at).sum(), rtol=1e-10, atol=1e-10)
    probs = cell(module, batch, "probs")
    torch.testing.assert_close(probs, p[: len(probs)], rtol=1e-8, atol=1e-10)
    assert cell(module, batch, "mode") == p.argmax()
    for level, found in zip((0.05, 0.5, 0.95), cell(module, batch, "quantiles(.05, .5, .95)"), strict=True):
        assert found == (p.cumsum(0) < level).sum()


@pytest.mark.parametrize("name", SPECS)
def test_draws_have_the_mean(name: str) -> None:
    module, batch = made(name)
    draws, mean = cell(module, batch, "sample(2000)"), cell(module, batch, "mean")
    assert abs(float(draws.mean() - mean)) <= 4 * float(draws.std()) / math.sqrt(len(draws)) + 1e-12


def test_what_is_seen_stays() -> None:
    module, batch = made("counts")
    for rule in ("mean", "mode", "median", "sample"):
        assert module.predict(batch, rule=rule)["x"][0, 0] == 1  # pyright: ignore[reportCallIssue]
    assert module.predict(batch, rule="probs")["x"][0, 0, :3].tolist() == [0, 1, 0]  # pyright: ignore[reportCallIssue]


def test_labels_beside_numbers_are_their_posterior() -> None:
    module, batch = made("labels")
    marginals = module.posterior(batch)["c"]  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(module.predict(batch, rule="mean")["c"], marginals)  # pyright: ignore[reportCallIssue]
    assert module.predict(batch, rule="mode")["c"] == marginals.argmax()  # pyright: ignore[reportCallIssue]
    draws = module.predict(batch, rule="sample(2000)")["c"][0]  # pyright: ignore[reportCallIssue]
    share = torch.bincount(draws, minlength=3) / 2000
    assert bool(((share - marginals[0]).abs() < 4 * (marginals[0] / 2000).sqrt() + 1e-3).all())


def test_what_cannot_be_told() -> None:
    flat = loaded(compile_spec(Source("s", "plate n:\n    latent z : bit ~ Bernoulli(0.5)\n    partial x : real ~ Flat()\n")))
    batch = {"x": torch.zeros(1), "x_observed": torch.zeros(1, dtype=torch.bool)}
    with pytest.raises(ValueError, match=r"x: Flat\(\) is no law to predict from"):
        flat.predict(batch)  # pyright: ignore[reportCallIssue]
    module, batch = made("mixture")
    with pytest.raises(ValueError, match="rules are mean"):
        module.predict(batch, rule="quantiles")  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match="probs are of labels and counts"):
        module.predict(batch, rule="probs")  # pyright: ignore[reportCallIssue]


def test_latents_that_are_drawn_are_weighed() -> None:
    """z given x_1 = 2 is Normal(2 / 1.25, 0.2), and so is the mean of x_2."""
    text = "plate n:\n    latent z : real ~ Normal(0, 1)\n    plate j[2]:\n        partial x : real ~ Normal(z, 0.5)\n"
    torch.manual_seed(0)
    module = loaded(compile_spec(Source("s", text))).double()
    batch = {"x": torch.tensor([[2.0, 0.0]], dtype=torch.float64), "x_observed": torch.tensor([[True, False]])}
    found = module.predict(batch, samples=200_000)["x"][CELL]  # pyright: ignore[reportCallIssue]
    assert abs(float(found) - 1.6) < 0.05
    below = module.predict(batch, rule="quantiles(.05, .95)", samples=200_000)["x"][CELL]  # pyright: ignore[reportCallIssue]
    deviation = math.sqrt(0.2 + 0.25)
    torch.testing.assert_close(below, 1.6 + torch.tensor([-1.645, 1.645], dtype=torch.float64) * deviation, rtol=0, atol=0.1)


def test_each_number_has_a_tilt_of_its_own() -> None:
    """Where two have one shape."""
    text = "plate n:\n    latent z : bit ~ Bernoulli(0.5)\n    partial x : count ~ Poisson(1 + z)\n"
    text += "    partial y : count ~ Poisson(5 - z)\n"
    module = loaded(compile_spec(Source("s", text)))
    batch = {name: torch.zeros(2) for name in ("x", "y")} | {f"{name}_observed": torch.zeros(2).bool() for name in ("x", "y")}
    found = module.predict(batch)  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(found["x"], torch.full((2,), 1.5), check_dtype=False)
    torch.testing.assert_close(found["y"], torch.full((2,), 4.5), check_dtype=False)


def test_labels_beside_latents_that_are_drawn_are_weighed() -> None:
    """p(x_2 = 1 | x_1 = 1) = E[σ(z)²] / E[σ(z)] over the prior of z."""
    text = "plate n:\n    latent z : real ~ Normal(0, 2)\n    plate j[2]:\n        partial x : bit ~ Bernoulli(sigmoid(z))\n"
    torch.manual_seed(0)
    module = loaded(compile_spec(Source("s", text))).double()
    batch = {"x": torch.tensor([[1.0, 0.0]], dtype=torch.float64), "x_observed": torch.tensor([[True, False]])}
    z = torch.linspace(-30, 30, 100_001, dtype=torch.float64)
    p = torch.sigmoid(z)
    weight = torch.exp(-z.square() / 8)
    found = module.predict(batch, samples=100_000)["x"][CELL]  # pyright: ignore[reportCallIssue]
    assert abs(float(found[1] - (weight * p * p).sum() / (weight * p).sum())) < 0.02
    assert module.predict(batch, rule="mode")["x"].tolist() == [[1, 1]]  # pyright: ignore[reportCallIssue]


LABELLED = """\
param p : simplex[3]
plate k[3]:
    param mu : real
plate n:
    partial c : index[k] ~ Categorical(p)
    plate j[2]:
        observed x : real ~ Normal(mu[c], 1)
"""
GUIDED = "guide:\n    c ~ Categorical(softmax(mu * x[0] for k))\n"
DRAWN = "infer:\n    c : score(samples=4)\n"


@pytest.mark.parametrize("more", ["", GUIDED, DRAWN, GUIDED + DRAWN], ids=["summed", "guided", "drawn", "guided and drawn"])
def test_a_label_is_predicted_from_its_row_however_the_fit_holds_it(more: str) -> None:
    module = loaded(compile_spec(Source("spec.vispec", LABELLED + more))).double()
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter, dtype=torch.float64)
    x = torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    batch = {"x": x, "c": torch.tensor([0, 0, 2]), "c_observed": torch.tensor([False, False, True])}
    mu = module.mu.detach()
    expected = (module.raw_p.detach() - 0.5 * (x[:, :, None] - mu).square().sum(1)).softmax(-1)
    expected[2] = torch.tensor([0.0, 0.0, 1.0])
    close = 4 * math.sqrt(0.25 / 2000) if "score" in more else 1e-9
    found = module.predict(batch, rule="probs", samples=20_000)["c"]  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(found, expected, rtol=0, atol=close)
    assert module.predict(batch, rule="mode")["c"].tolist() == expected.argmax(-1).tolist()  # pyright: ignore[reportCallIssue]
    assert module.predict(batch, rule="sample")["c"][2] == 2  # pyright: ignore[reportCallIssue]


TABLES = """\
param s : positive
plate k[3]:
    given u : real
    param mu : real
plate n:
    latent z : index[k] ~ Uniform()
    plate j[2]:
        partial x : real ~ Normal(mu[z] + u[z], s)
"""


def test_several_draws_of_rows_that_share_a_table() -> None:
    torch.manual_seed(0)
    module = loaded(compile_spec(Source("spec.vispec", TABLES))).double()
    x = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    batch = {"u": torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64), "x": x, "x_observed": x > 0}
    draws = module.predict(batch, rule="sample(3000)")["x"]  # pyright: ignore[reportCallIssue]
    assert draws.shape == (2, 2, 3000)
    assert bool((draws[0, 0] == 1).all())
    mean = module.predict(batch)["x"]  # pyright: ignore[reportCallIssue]
    assert bool(((draws.mean(-1) - mean).abs() <= 4 * draws.std(-1) / math.sqrt(3000)).all())
