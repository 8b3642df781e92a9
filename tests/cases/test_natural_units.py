"""Tables in the units that people have them in, by default settings: dollars, years, kilometres a second, counts of 50,000."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import fitted, log_prob
from torch import Tensor
from torch import distributions as d

LINE = """param a : real
param b : real
param s : positive
plate n:
    given age       : real
    observed income : real ~ Normal(a + b * age, s)
"""
ONE = """param m : real
param s : positive
plate n:
    observed x : real ~ Normal(m, s)
"""
RATE = """param rate : positive
plate n:
    observed x : count ~ Poisson(rate)
"""
SERIES = """param pi : simplex[2]
plate k[2]:
    param level : real
    param slope : real
    param s     : positive
plate row:
    latent c : index[k] ~ Categorical(pi)
    plate t[8]:
        observed x : real ~ Normal(level[c] + slope[c] * t, s[c])
"""
THREE = """param pi : simplex[3]
plate k[3]:
    param mu : real
    param s  : positive
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real     ~ Normal(mu[c], s[c])
"""
# Roeder (1990): velocities of 82 galaxies, km/s
GALAXIES = """9172 9350 9483 9558 9775 10227 10406 16084 16170 18419 18552 18600 18927 19052 19070 19330 19343 19349 19440 19473
19529 19541 19547 19663 19846 19856 19863 19914 19918 19973 19989 20166 20175 20179 20196 20215 20221 20415 20629 20795 20821
20846 20875 20986 21137 21492 21701 21814 21921 21960 22185 22209 22242 22249 22314 22374 22495 22746 22747 22888 22914 23206
23241 23263 23484 23538 23542 23666 23706 23711 24129 24285 24289 24366 24717 24990 25633 26690 26995 32065 32789 34279"""


def normal_maximum(residual: np.ndarray) -> float:
    """The greatest log-likelihood of one Normal with mean 0."""
    return -len(residual) / 2 * (math.log(2 * math.pi * float(np.mean(residual**2))) + 1)


# ---- fits that used to end far from the maximum, as their steps were too short


def test_a_line_in_dollars_is_that_of_least_squares(tmp_path: Path) -> None:
    draw = random.Random(0)
    ages = [round(draw.uniform(20, 65), 1) for _ in range(80)]
    incomes = [round(12000 + 900 * age + draw.gauss(0, 4000)) for age in ages]
    told, found = fitted(tmp_path, LINE, {"age": ages, "income": incomes})
    design = np.stack([np.ones(80), ages], 1)
    best = np.linalg.lstsq(design, incomes, rcond=None)[0]
    assert [found["a"], found["b"]] == pytest.approx(best.tolist(), rel=1e-6)
    assert log_prob(told) == pytest.approx(normal_maximum(incomes - design @ best), abs=1e-6)


def test_the_mean_of_a_column_of_ages(tmp_path: Path) -> None:
    ages = np.random.default_rng(0).normal(43, 13, 80).round(1)
    told, found = fitted(tmp_path, ONE, {"x": ages})
    assert [found["m"], found["s"]] == pytest.approx([ages.mean(), ages.std()], rel=1e-6)
    assert log_prob(told) == pytest.approx(normal_maximum(ages - ages.mean()), abs=1e-6)


def test_a_rate_of_counts_near_50_000(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(50_000, 60)
    told, found = fitted(tmp_path, RATE, {"x": counts})
    assert found["rate"] == pytest.approx(counts.mean(), rel=1e-9)
    exact = d.Poisson(torch.tensor(counts.mean())).log_prob(torch.tensor(counts, dtype=torch.float64)).sum()
    assert log_prob(told) == pytest.approx(float(exact), abs=1e-5)


def test_a_mixture_of_time_series(tmp_path: Path) -> None:
    """Two kinds that are far apart: the maximum is that of two lines, each fitted to its own series, and the shares."""
    draws, t = np.random.default_rng(0), np.arange(8)
    first, second = 300 + 40 * t + draws.normal(0, 20, (20, 8)), 1500 - 60 * t + draws.normal(0, 60, (30, 8))
    told, _ = fitted(tmp_path, SERIES, {"x": np.concatenate([first, second])})
    wanted = 20 * math.log(0.4) + 30 * math.log(0.6)
    for part in (first, second):
        design = np.tile(np.stack([np.ones(8), t], 1), (len(part), 1))
        wanted += normal_maximum(part.reshape(-1) - design @ np.linalg.lstsq(design, part.reshape(-1), rcond=None)[0])
    assert log_prob(told) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(("unit", "shift"), [(1.0, 0.0), (1e-3, 0.0), (1e3, 1e7)])
def test_galaxies_in_any_units_reach_the_maximum(tmp_path: Path, unit: float, shift: float) -> None:
    """-203.179228 in 1000 km/s, of several maxima; in other units, by the change of variables."""
    x = np.array([float(word) for word in GALAXIES.split()]) * unit + shift
    told, _ = fitted(tmp_path, THREE, {"x": x})
    assert log_prob(told) == pytest.approx(-203.179228 - 82 * math.log(1000 * unit), abs=1e-4)
    assert told["starts"][0][0] == pytest.approx(log_prob(told), abs=1e-3)


# ---- link functions of inputs in thousands, which used to diverge

LINKED = """param a : real
param w : real[3]
{}
plate n:
    given    x : real[3]
    observed y : {}
"""


def poisson(eta: Tensor, _: Tensor) -> d.Distribution:
    return d.Poisson(eta.exp())


def gamma(eta: Tensor, k: Tensor) -> d.Distribution:
    return d.Gamma(k, k * (-eta).exp())


def beta(eta: Tensor, k: Tensor) -> d.Distribution:
    return d.Beta(k * eta.sigmoid(), k * (1 - eta.sigmoid()))


def weibull(eta: Tensor, k: Tensor) -> d.Distribution:
    return d.Weibull(eta.exp(), k)


def negative_binomial(eta: Tensor, k: Tensor) -> d.Distribution:
    return d.NegativeBinomial(k, logits=eta - k.log())


def logit(eta: Tensor, _: Tensor) -> d.Distribution:
    return d.Bernoulli(logits=eta)


ETA = "a + dot(w, x)"
LINKS = {
    "poisson": (poisson, f"count ~ Poisson(exp({ETA}))", (-1, 5e-5, 0.4, 2e-3)),
    "gamma": (gamma, f"positive ~ Gamma(k, k * exp(-({ETA})))", (3, 2e-5, 0.2, -1e-3)),
    "beta": (beta, f"unit ~ Beta(k * sigmoid({ETA}), k * (1 - sigmoid({ETA})))", (-1, 3e-5, 0.5, -1e-3)),
    "weibull": (weibull, f"positive ~ Weibull(exp({ETA}), k)", (5, 2e-5, -0.3, 1e-3)),
    "negative_binomial": (
        negative_binomial,
        f"count ~ NegativeBinomial(k, exp({ETA}) / (k + exp({ETA})))",
        (0, 4e-5, 0.5, 1e-3),
    ),
    "logit": (logit, f"bit ~ Bernoulli(sigmoid({ETA}))", (-2, 5e-5, 0.6, 1e-3)),
}


@pytest.mark.parametrize("name", LINKS)
def test_regressions_on_inputs_in_thousands(tmp_path: Path, name: str) -> None:
    """The estimates are a maximum of the law as torch has it: its gradient, in standardised inputs, is 0 there."""
    law, written, truth = LINKS[name]
    draws = np.random.default_rng(3)
    x = np.stack([draws.uniform(2e4, 6e4, 80), draws.uniform(0, 1, 80), draws.normal(500, 200, 80)], 1)
    inputs, free = torch.tensor(x), name not in ("poisson", "logit")
    torch.manual_seed(3)
    y = law(truth[0] + inputs @ torch.tensor(truth[1:], dtype=torch.float64), torch.tensor(5.0, dtype=torch.float64)).sample()
    text = LINKED.format("param k : positive" * free, written)
    told, found = fitted(tmp_path, text, {"x": x, "y": y}, "--restarts", "2")
    centre, spread = inputs.mean(0), inputs.std(0)
    w = torch.tensor([found[f"w[{i}]"] for i in range(3)], dtype=torch.float64)
    at = torch.cat([(found["a"] + w @ centre)[None], w * spread, torch.tensor([math.log(found.get("k", 1.0))])])

    def total(v: Tensor) -> Tensor:
        eta = v[0] + ((inputs - centre) / spread) @ v[1:4]
        return law(eta, v[4].exp()).log_prob(y).sum()

    second = torch.func.jacrev(torch.func.jacrev(total))(at)[: 4 + free, : 4 + free]
    assert log_prob(told) == pytest.approx(float(total(at)), abs=1e-6)
    assert torch.func.grad(total)(at).abs().max() < 1e-4
    assert torch.linalg.eigvalsh(second).max() < 0
