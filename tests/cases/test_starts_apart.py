"""Components that are scalars, not elements of a plate, start apart: they used to stay at a saddle where all are alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fitting import fitted, log_prob

Law = Callable[[np.ndarray, float], np.ndarray]
"""Log-probabilities of rows, given a mean."""
TWO = """param p  : unit
param m0 : {0}
param m1 : {0}
plate n:
    latent   z : bit ~ Bernoulli(p)
    observed x : {1}
"""
KINDS = {
    "values that a latent chooses": TWO.format("real", "real ~ Normal(m1 if z else m0, 1)"),
    "laws that a latent chooses": TWO.format("real", "real ~ Normal(m1, 1) if z else Normal(m0, 1)"),
    "arithmetic with a latent": TWO.format("real", "real ~ Normal(m0 + (m1 - m0) * z, 1)"),
    "poisson": TWO.format("positive", "count ~ Poisson(m1) if z else Poisson(m0)"),
    "bernoulli": TWO.format("unit", "bit[6] ~ Bernoulli(m1 if z else m0)"),
}


def normal(x: np.ndarray, m: float) -> np.ndarray:
    return -0.5 * np.log(2 * np.pi) - (x - m) ** 2 / 2


def poisson(x: np.ndarray, m: float) -> np.ndarray:
    table = np.concatenate([[0.0], np.log(np.arange(1, x.max() + 1)).cumsum()])
    return x * np.log(m) - m - table[x.astype(int)]


def bernoulli(x: np.ndarray, m: float) -> np.ndarray:
    return (x * np.log(m) + (1 - x) * np.log(1 - m)).sum(1)


def by_em(x: np.ndarray, law: Law, start: tuple[float, float]) -> tuple[float, list[float]]:
    """(the log-likelihood, both means) of a mixture whose components have means, by 2,000 steps of EM from `start`."""
    means, share = list(start), 0.5
    each = x.reshape(len(x), -1).mean(1)
    total = np.zeros(len(x))
    for _ in range(2000):
        first, second = np.log(1 - share) + law(x, means[0]), np.log(share) + law(x, means[1])
        total = np.logaddexp(first, second)
        weight = np.exp(second - total)
        share = weight.mean()
        means = [float((w * each).sum() / w.sum()) for w in (1 - weight, weight)]
    return float(total.sum()), means


def data_of(kind: str) -> tuple[np.ndarray, Law, tuple[float, float]]:
    draws, second = np.random.default_rng(0), np.arange(120) < 50
    if kind == "poisson":
        return draws.poisson(np.where(second, 12, 2)).astype(float), poisson, (2, 12)
    if kind == "bernoulli":
        return (draws.random((120, 6)) < np.where(second, 0.8, 0.2)[:, None]).astype(float), bernoulli, (0.2, 0.8)
    return np.where(second, 3.0, -3.0) + draws.normal(0, 1, 120), normal, (-3, 3)


@pytest.mark.parametrize("restarts", [(), ("--restarts", "3")])
@pytest.mark.parametrize("kind", KINDS)
def test_scalars_reach_the_maximum_of_the_mixture(tmp_path: Path, kind: str, restarts: tuple[str, ...]) -> None:
    x, law, start = data_of(kind)
    wanted, means = by_em(x, law, start)
    told, found = fitted(tmp_path, KINDS[kind], {"x": x}, *restarts)
    assert log_prob(told) == pytest.approx(wanted, abs=1e-5)
    assert sorted([found["m0"], found["m1"]]) == pytest.approx(means, abs=1e-3)
    assert sum(count for _, count in told["starts"]) <= (3 if restarts else 10)
