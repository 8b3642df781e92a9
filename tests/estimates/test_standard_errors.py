"""Standard errors that are known in closed form."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fitted import by_title, estimates, table

from vispec.train.estimates.show import body

RANDOM = np.random.default_rng(3)


def test_normal_mean_and_deviation(tmp_path: Path) -> None:
    x = 1000 * RANDOM.normal(3, 2, 50)
    text = "param m : real\nparam s : positive\nplate n:\n    observed x : real ~ Normal(m, s)\n"
    found = estimates(
        text, table(tmp_path, {"x": x}), start={"m": torch.tensor(2500.0).double(), "s": torch.tensor(1500.0).double()}
    )
    m, s = by_title(found).values()
    assert (m.estimate, s.estimate) == pytest.approx((x.mean(), x.std()), rel=1e-7)
    assert (m.se, s.se) == pytest.approx((x.std() / 50**0.5, x.std() / 100**0.5), rel=1e-6)
    assert found.free_parameters == 2
    assert found.log_prob is not None
    assert (found.aic, found.bic) == pytest.approx((4 - 2 * found.log_prob, 2 * np.log(50) - 2 * found.log_prob))


def test_probability_rate_and_a_node_of_both(tmp_path: Path) -> None:
    text = """
param p : unit
param rate : positive
let odds = p / (1 - p)
plate n:
    observed x : bit ~ Bernoulli(p)
    observed y : count ~ Poisson(rate)
"""
    x, y = RANDOM.integers(0, 2, 40), RANDOM.poisson(4, 40)
    found = by_title(estimates(text, table(tmp_path, {"x": x, "y": y})))
    p, rate = x.mean(), y.mean()
    assert found["p"].se == pytest.approx((p * (1 - p) / 40) ** 0.5, rel=1e-7)
    assert found["rate"].se == pytest.approx((rate / 40) ** 0.5, rel=1e-7)
    odds = found["odds"]
    assert odds.derived
    assert (odds.estimate, odds.se) == pytest.approx((p / (1 - p), (p / (40 * (1 - p) ** 3)) ** 0.5), rel=1e-6)
    assert list(found) == ["p", "rate", "odds"]


def test_linear_regression_with_columns_by_name(tmp_path: Path) -> None:
    x = np.stack([RANDOM.normal(0, 1, 30), RANDOM.normal(5, 0.1, 30)], 1)
    y = 2 + x @ [1, -3] + RANDOM.normal(0, 0.5, 30)
    text = """
size D
param a : real
param w : real[D]
param s : positive
plate n:
    given x : real[D]
    observed y : real ~ Normal(a + dot(w, x), s)
"""
    data = table(tmp_path, {"age": x[:, 0], "dose": x[:, 1], "y": y})
    found = by_title(estimates(text, data, {"x": ("age", "dose")}))
    design = np.column_stack([np.ones(30), x])
    best, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * residual[0] / 30)
    names = ["a", "w[age]", "w[dose]"]
    assert [found[name].estimate for name in names] == pytest.approx(best, rel=1e-6)
    assert [found[name].se for name in names] == pytest.approx(error, rel=1e-6)


def test_simplex_is_identified_although_its_logits_are_not(tmp_path: Path) -> None:
    text = "size K\nparam p : simplex[K]\nplate n:\n    observed x : category[K] ~ Categorical(p)\n"
    x = ["low"] * 30 + ["middle"] * 15 + ["top"] * 5
    found = estimates(text, table(tmp_path, {"x": x}))
    share = np.array([0.6, 0.3, 0.1])
    entries = by_title(found)
    assert list(entries) == ["p[low]", "p[middle]", "p[top]"]
    assert [entry.estimate for entry in entries.values()] == pytest.approx(share, rel=1e-6)
    assert [entry.se for entry in entries.values()] == pytest.approx(np.sqrt(share * (1 - share) / 50), rel=1e-6)
    assert found.free_parameters == 2
    assert [entry.labels for entry in entries.values()] == [("low",), ("middle",), ("top",)]


def test_cholesky_factor_has_no_number_above_its_diagonal(tmp_path: Path) -> None:
    text = """
size D
param m : real[D]
param L : cholesky[D]
plate n:
    observed x : real[D] ~ MultivariateNormal(m, L)
"""
    x = RANDOM.normal(0, 1, (60, 2)) @ [[1, 0.5], [0, 2]]
    found = estimates(text, table(tmp_path, {"x": x}))
    entries, covariance = by_title(found), np.cov(x.T, bias=True)
    assert list(entries) == ["m[0]", "m[1]", "L[0, 0]", "L[0, 1]", "L[1, 0]", "L[1, 1]"]
    above = entries["L[0, 1]"]
    assert (above.estimate, above.se, above.note) == (0.0, 0.0, "0 above the diagonal")
    assert not any(line.startswith("L[0, 1]") for line in body(found))
    assert entries["m[1]"].se == pytest.approx((covariance[1, 1] / 60) ** 0.5, rel=1e-6)
    assert entries["L[0, 0]"].se == pytest.approx((covariance[0, 0] / 120) ** 0.5, rel=1e-6)
    assert found.free_parameters == 5


def test_ordered_cuts_agree_with_shares(tmp_path: Path) -> None:
    text = """
param cuts : ordered[2]
plate n:
    observed x : category[3] ~ Categorical(ordinal(0, cuts))
"""
    found = by_title(estimates(text, table(tmp_path, {"x": [0] * 10 + [1] * 25 + [2] * 15})))
    for entry, share in zip(found.values(), (0.2, 0.7), strict=True):
        assert entry.estimate == pytest.approx(np.log(share / (1 - share)), rel=1e-6)
        assert entry.se == pytest.approx((1 / (50 * share * (1 - share))) ** 0.5, rel=1e-6)


def test_nearly_collinear_columns_keep_their_digits(tmp_path: Path) -> None:
    x = RANDOM.normal(0, 1, 40)
    close = x + 1e-4 * RANDOM.normal(0, 1, 40)
    y = x + RANDOM.normal(0, 1, 40)
    text = "param a : real\nparam b : real\nplate n:\n    given u : real\n    given v : real\n"
    text += "    observed y : real ~ Normal(a * u + b * v, 1)\n"
    design = np.column_stack([x, close])
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    start = {"a": torch.tensor(best[0]), "b": torch.tensor(best[1])}
    found = by_title(estimates(text, table(tmp_path, {"u": x, "v": close, "y": y}), start=start, steps=0))
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    assert [entry.se for entry in found.values()] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_units_do_not_matter(tmp_path: Path, unit: float) -> None:
    x = np.linspace(1, 2, 20)
    y = 1 + 2 * x + RANDOM.normal(0, 0.1, 20)
    text = "param a : real\nparam b : real\nplate n:\n    given x : real\n    observed y : real ~ Normal(a + b * x, 0.1)\n"
    design = np.column_stack([np.ones(20), x])
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    start = {"a": torch.tensor(best[0]), "b": torch.tensor(best[1] / unit)}
    found = by_title(estimates(text, table(tmp_path, {"x": unit * x, "y": y}), start=start, steps=0))
    error = 0.1 * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    assert (found["a"].se, found["b"].se) == pytest.approx((error[0], error[1] / unit), rel=1e-5)
