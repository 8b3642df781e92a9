"""Starts, scales and ends of second-order fits are the same in any units."""

import math

import numpy as np
import pytest
import torch

from tests.newton.test_fits import run, write
from tests.newton.test_steps import descend, vector, with_gradient
from vispec.train.newton.reach import bend, curvature, in_units, reach
from vispec.train.newton.state import begin

CURVE = """
param a : real
param b : real
param s : positive
plate n:
    given    x : real
    observed y : real ~ Normal(a * (1 - exp(-b * x)), s)
"""
SATURATION = """
param v : positive
param k : positive
param s : positive
plate n:
    given    x : positive
    observed y : real ~ Normal(v * x / (k + x), s)
"""
MIXED_LINES = """
size K = 2
param pi : simplex[K]
plate k[K]:
    param a : real
    param b : real
    param s : positive
plate n:
    given    x : real
    latent   c : index[k] ~ Categorical(pi)
    observed y : real     ~ Normal(a[c] + b[c] * x, s[c])
"""


def curve():
    draws, x = np.random.default_rng(3), np.linspace(1, 8, 30)
    return np.stack([x, 240 * (1 - np.exp(-0.2 * x)) + draws.normal(0, 2, 30)], 1)


def saturation():
    draws, x = np.random.default_rng(4), np.geomspace(0.02, 1.1, 24)
    return np.stack([x, 200 * x / (0.06 + x) + draws.normal(0, 8, 24)], 1)


def lines():
    draws, x = np.random.default_rng(5), np.linspace(0, 10, 120)
    first = draws.uniform(size=120) < 0.4
    return np.stack([x, np.where(first, 1 + 2 * x, 20 - 1.5 * x) + draws.normal(0, 1, 120)], 1)


@pytest.mark.parametrize(("spec", "data"), [(CURVE, curve), (SATURATION, saturation), (MIXED_LINES, lines)])
def test_a_fit_is_the_same_in_any_units(tmp_path, spec, data):
    rows, found = data(), []
    for number, (of_x, of_y) in enumerate([(1.0, 1.0), (1e3, 1e-3), (1e-5, 1e6)]):
        path = write(tmp_path / f"{number}.csv", rows * [of_x, of_y], "xy")
        _, result = run(tmp_path / f"run{number}", spec, path, restarts=4)
        assert result.ending.converged
        found.append(result.train.log_prob + len(rows) * math.log(of_y))
    assert found == pytest.approx([found[0]] * 3, abs=1e-6)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_a_number_reaches_as_far_as_its_unit_says(unit):
    f = with_gradient(lambda x: 50 * (x[0] / unit - 1) ** 2 + 0 * x[1])
    x = vector(unit, 0)
    width = reach(f, x, 0, *map(float, (f(x)[0], f(x)[1][0])))
    assert 0.1 <= 50 * (width / unit) ** 2 <= 10
    assert curvature(f, x, 0) == pytest.approx(100 / unit**2, rel=1e-6)
    assert reach(f, x, 1, f(x)[0], 0.0) is None


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e4])
def test_a_rate_of_which_the_curvature_tells_nothing_has_the_unit_in_which_others_bend(unit):
    """a (1 − exp(−b x)) at a = b = 0: a slope in a goes like tanh(b x / 2) to both sides."""
    f = with_gradient(lambda p: (p[0] * (1 - torch.exp(-p[1] / unit)) - 1) ** 2)
    x = vector(0, 0)
    assert curvature(f, x, 1) == 0
    assert bend(f, x, 1, f(x)[1]) == pytest.approx(2 * math.atanh(0.5) * unit, rel=2e-2)
    assert bend(f, x, 0, f(x)[1]) is None


def test_a_gradient_in_small_units_is_not_taken_for_rounding():
    def f(x):
        return (torch.stack([x[0] - 3, x[1] / 1e15 - 2]) ** 2).sum() + 200

    found = descend(with_gradient(f), vector(0, 0))
    assert found.value == pytest.approx(200, abs=1e-9)
    assert in_units(with_gradient(f), begin(with_gradient(f), vector(0, 0))).unit[1] < 1e-13
