"""What was fitted can be read: at the end of `fit`, in the report, and by `params`, by the names of the spec.

Each maximum is known in closed form, or from the score equations of the model."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from fitting import estimates, vispec, written

REGRESSION = """param a : real
param b : real
param s : positive
plate n:
    given x : real
    observed y : real ~ Normal(a + b * x, s)
"""
SURVIVAL = """param hazard : positive
let survival = exp(-hazard * 10)
plate n:
    given time : positive
    observed dead : count ~ Poisson(hazard * time)
"""
DETECTION = """param psi : unit
param p : unit
plate site:
    latent z : bit ~ Bernoulli(psi)
    plate visit[3]:
        observed seen : bit ~ Bernoulli(p if z else 0)
"""
RECAPTURE = """param phi : unit
param p : unit
plate animal:
    chain t[3]:
        let marked = sum(x[<t]) > 0
        latent   alive : bit ~ Bernoulli(1) then Bernoulli((phi if alive[t-1] else 0) if marked else 1)
        observed x     : bit ~ Bernoulli(p if alive else 0) if marked else Flat()
"""
SLIPS = """size I = 3
param mastery : unit
plate item[I]:
    param guess : unit
    param slip  : unit
plate person:
    latent m : bit ~ Bernoulli(mastery)
    plate item:
        observed y : bit ~ Bernoulli(1 - slip if m else guess)
"""
STATES = """size K = 2
param init : simplex[K]
plate state[K]:
    param trans : simplex[K]
    param mu : real
param s : positive
plate row:
    chain t:
        latent   c : index[state] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : real ~ Normal(mu[c], s)
"""


def seen(folder: Path, text: str, columns: dict, *options: str) -> dict[str, tuple[float, float | None]]:
    """Estimates and standard errors by their titles. Each stands in what `fit` and `params` print, and in the report."""
    spec, data = written(folder, text, columns)
    output = vispec("fit", spec, data, "--out", folder / "run", "--threads", "1", *options)
    page = re.sub(r"<[^>]*>", " ", (folder / "run" / "report.html").read_text())
    table, csv = vispec("params", folder / "run"), vispec("params", folder / "run", "--csv")
    found = {entry.title: (entry.estimate, entry.se) for entry in estimates(folder).parameters}
    for place in (output, page, table, csv):
        assert [title for title in found if title not in place] == []
    assert "std. error" in output
    return found


def test_slope_intercept_and_spread_of_a_regression(tmp_path: Path) -> None:
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.1, 3.9, 6.2, 7.8])
    found = seen(tmp_path, REGRESSION, {"x": x, "y": y})
    variance = np.mean((y - 0.15 - 1.94 * x) ** 2)
    assert found["b"] == pytest.approx((1.94, math.sqrt(variance / 5)), rel=1e-4)
    assert found["a"][0] == pytest.approx(0.15, rel=1e-5)
    assert found["s"] == pytest.approx((math.sqrt(variance), math.sqrt(variance / 8)), rel=1e-4)


def test_hazard_and_survival(tmp_path: Path) -> None:
    """Deaths over time at risk; survival to time 10 is a deterministic node, by the delta method."""
    time, dead = [5.0, 12.0, 20.0, 3.0, 9.0, 31.0], [1, 0, 1, 1, 0, 1]
    found = seen(tmp_path, SURVIVAL, {"time": time, "dead": dead})
    assert found["hazard"] == pytest.approx((4 / 80, 2 / 80), rel=1e-4)
    assert found["survival"] == pytest.approx((math.exp(-0.5), 10 * math.exp(-0.5) * 2 / 80), rel=1e-4)


def test_detection_of_what_is_there(tmp_path: Path) -> None:
    """Occupancy: the sites where something was seen have counts of a binomial law without its 0."""
    counts = np.repeat([0, 1, 2, 3], [20, 8, 12, 10])
    found = seen(tmp_path, DETECTION, {"seen": [[int(k > i) for i in range(3)] for k in counts]})
    psi, p = found["psi"][0], found["p"][0]
    at_least_one = 1 - (1 - p) ** 3
    assert psi * at_least_one == pytest.approx(30 / 50, rel=1e-5)
    assert 3 * p / at_least_one == pytest.approx(counts[counts > 0].mean(), rel=1e-5)
    assert found["psi"][1] is not None


def test_survival_and_recapture(tmp_path: Path) -> None:
    """Cormack, Jolly and Seber on three occasions, all marked on the first: counts of histories 111, 101, 110, 100."""
    histories = np.repeat([[1, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 0]], [30, 10, 25, 35], axis=0)
    found = seen(tmp_path, RECAPTURE, {"x": histories})
    phi, p = found["phi"][0], found["p"][0]

    def total(phi: float, p: float) -> float:
        rest = 1 - phi * p
        return (
            30 * math.log((phi * p) ** 2)
            + 10 * math.log(phi * (1 - p) * phi * p)
            + 25 * math.log(phi * p * rest)
            + 35 * math.log(1 - phi + phi * (1 - p) * rest)
        )

    here, step = total(phi, p), 1e-3
    assert all(total(phi + a, p + b) < here for a in (-step, 0, step) for b in (-step, 0, step) if a or b)
    assert estimates(tmp_path).log_prob == pytest.approx(here, abs=1e-6)


def test_guesses_and_slips_of_items(tmp_path: Path) -> None:
    """Answers of masters and others, items by their places; three items and two classes fit all 8 cells."""
    mastery, guess, slip = 0.6, [0.1, 0.2, 0.3], [0.1, 0.2, 0.05]
    cells = [[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    share = [
        mastery * math.prod(1 - s if y else s for y, s in zip(cell, slip, strict=True))
        + (1 - mastery) * math.prod(g if y else 1 - g for y, g in zip(cell, guess, strict=True))
        for cell in cells
    ]
    counts = np.round(2000 * np.array(share)).astype(int)
    found = seen(tmp_path, SLIPS, {"y": np.repeat(cells, counts, axis=0)})
    low, high = ([found[f"guess[{i}]"][0] for i in range(3)], [1 - found[f"slip[{i}]"][0] for i in range(3)])
    low, high = sorted([low, high])  # the model does not say which of the two values means mastery
    assert low == pytest.approx(guess, abs=0.01)
    assert high == pytest.approx([1 - each for each in slip], abs=0.01)
    share = counts / counts.sum()
    assert estimates(tmp_path).log_prob == pytest.approx(float((counts * np.log(share)).sum()), abs=1e-4)


def test_transitions_of_states(tmp_path: Path) -> None:
    """Far apart, the states are known: transitions are shares of the steps, and means those of the numbers."""
    draws, rows = np.random.default_rng(0), []
    steps, sums = np.zeros((2, 2)), [[], []]
    for _ in range(12):
        state, row = int(draws.random() < 0.3), []
        for t in range(15):
            following = int(draws.random() < (0.2, 0.7)[state])
            steps[state, following] += t < 14
            row.append(float((0, 100)[state] + draws.normal()))
            sums[state].append(row[-1])
            state = following
        rows.append(row)
    found = seen(tmp_path, STATES, {"x": rows}, "--restarts", "2")
    order = sorted((0, 1), key=lambda k: found[f"mu[{k}]"][0])
    assert [found[f"mu[{k}]"][0] for k in order] == pytest.approx([np.mean(each) for each in sums], rel=1e-5)
    moved = [[found[f"trans[{a}, {b}]"][0] for b in order] for a in order]
    np.testing.assert_allclose(moved, steps / steps.sum(1, keepdims=True), rtol=1e-4)
    p, n = steps[0, 1] / steps[0].sum(), steps[0].sum()
    assert found[f"trans[{order[0]}, {order[1]}]"][1] == pytest.approx(math.sqrt(p * (1 - p) / n), rel=1e-3)
