"""Simulation-based calibration (Talts et al. 2018): a latent drawn from its prior has a uniform rank among draws of its
posterior given data that were drawn from it.

The guides can be the exact posteriors and are fitted, for all data sets at once: each data set is a row, whose latent is
amortised. Draws of the model, of the guide and of the exact engine all come from the emitted modules.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from vispec.compile import compile_spec
from vispec.source import Source

SETS, DRAWS, BINS = 4000, 99, 20  # ranks 0 … 99 in bins of five
LEVEL = 0.01

NORMAL_MEAN = """
param slope : real
param spread : positive
plate set:
    latent mu : real ~ Normal(1, 2)
    plate i[5]:
        observed x : real ~ Normal(mu, 1.5)
guide:
    mu ~ Normal(slope * mean(x[*]) + (1 - slope), spread)
"""
BETA_BERNOULLI = """
param a : positive
param b : positive
plate set:
    latent p : unit ~ Beta(2, 3)
    plate i[8]:
        observed x : bit ~ Bernoulli(p)
guide:
    let miss = 1 if x == 0 else 0
    p ~ Beta(a + sum(x[*]), b + sum(miss[*]))
"""
GAMMA_POISSON = """
param more : positive
plate set:
    latent rate : positive ~ Gamma(3, 2)
    plate i[6]:
        observed x : count ~ Poisson(rate)
guide:
    rate ~ Gamma(3 + sum(x[*]), 2 + more)
"""
EXACT = {
    "mu": {"slope": 5 / (5 + 1.5**2 / 4), "spread": (1 / (1 / 4 + 5 / 1.5**2)) ** 0.5},
    "p": {"a": 2.0, "b": 3.0},
    "rate": {"more": 6.0},
}
MODELS = [("mu", NORMAL_MEAN), ("p", BETA_BERNOULLI), ("rate", GAMMA_POISSON)]

COMPONENTS = """
plate k[6]:
    param place : real
plate set:
    latent c : index[k] ~ Categorical([0.1, 0.2, 0.3, 0.2, 0.15, 0.05])
    plate i[3]:
        observed x : real ~ Normal(place[c], 2)
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: more threads only cost."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def module_of(text: str) -> nn.Module:
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    return space["Model"]().double()


def fitted(module: nn.Module, steps: int = 600, rate: float = 0.1) -> nn.Module:
    """The guide's parameters by the bound of data that the model draws."""
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        data = module.sample(500)
        optimizer.zero_grad()
        (module.loss({"x": data["x"]}, 500) / 500).backward()
        optimizer.step()
    return module


def ranks(prior: Tensor, posterior: Tensor) -> Tensor:
    """How many of the draws (DRAWS, SETS) lie below the value that the data came from (SETS,); among equals by lot."""
    below, equal = (posterior < prior).sum(0), (posterior == prior).sum(0)
    return below + (torch.rand(len(prior)) * (equal + 1)).long()


def statistic(rank: Tensor) -> float:
    """χ² of the histogram of ranks against the uniform one."""
    counts = torch.bincount(rank * BINS // (DRAWS + 1), minlength=BINS).double()
    return float(((counts - SETS / BINS).square() / (SETS / BINS)).sum())


def chance(found: float) -> float:
    """P(χ² > found) with BINS − 1 degrees of freedom."""
    return float(torch.special.gammaincc(torch.tensor((BINS - 1) / 2).double(), torch.tensor(found / 2).double()))


def of_guide(module: nn.Module, name: str) -> Callable[[dict[str, Tensor]], Tensor]:
    """Draws (DRAWS, SETS) of a latent of each row from its guide."""

    def draw(batch: dict[str, Tensor]) -> Tensor:
        drawn = module.divergences(batch, DRAWS)[name][1]
        assert drawn is not None
        return drawn

    return draw


def calibration(module: nn.Module, name: str, draw: Callable[[dict[str, Tensor]], Tensor]) -> float:
    """How likely so uneven a histogram is of calibrated draws."""
    data = module.sample(SETS)
    return chance(statistic(ranks(data[name], draw({"x": data["x"]}))))


@pytest.mark.parametrize(("name", "text"), MODELS)
def test_ranks_are_uniform(name: str, text: str):
    """Under fitted guides, whose parameters are those of the exact posterior."""
    torch.manual_seed(0)
    module = fitted(module_of(text))
    for parameter, value in EXACT[name].items():
        assert float(getattr(module, parameter).detach()) == pytest.approx(value, rel=0.02)
    assert calibration(module, name, of_guide(module, name)) > LEVEL


@pytest.mark.parametrize(("name", "text"), MODELS)
def test_a_wrong_posterior_is_found(name: str, text: str):
    """The same test, of guides with twice each parameter."""
    torch.manual_seed(0)
    module = module_of(text)
    with torch.no_grad():
        for parameter, value in EXACT[name].items():
            if parameter == "slope":
                module.slope.fill_(2 * value)
            else:
                setattr(module, parameter, torch.tensor(2 * value).double())
    assert calibration(module, name, of_guide(module, name)) < LEVEL


def test_ranks_of_a_discrete_latent_under_the_exact_engine():
    """Its posterior samples, query "sample"; equal values have their rank by lot."""
    torch.manual_seed(0)
    module = module_of(COMPONENTS)
    with torch.no_grad():
        module.place.copy_(torch.arange(6))

    def draw(batch: dict[str, Tensor]) -> Tensor:
        return torch.stack([module.posterior(batch, query="sample")["c"] for _ in range(DRAWS)])

    assert calibration(module, "c", draw) > LEVEL
    off = calibration(module, "c", lambda batch: (draw(batch) + (torch.rand(DRAWS, SETS) < 0.1)).clamp(max=5))
    assert off < LEVEL
