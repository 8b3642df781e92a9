"""Numbers without a standard error say why."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fitted import by_title, estimates, table

from vispec.train.estimates import make
from vispec.train.estimates.uncertainty.standard import Standard
from vispec.train.estimates.values import Estimates

RANDOM = np.random.default_rng(5)


def notes(found: Estimates) -> dict[str, str | None]:
    return {entry.title: entry.note for entry in found.parameters}


def test_a_direction_that_is_not_identified_is_named(tmp_path: Path) -> None:
    text = "param a : real\nparam b : real\nparam s : positive\nlet total = a + b\n"
    text += "plate n:\n    observed x : real ~ Normal(a + b, s)\n"
    x = RANDOM.normal(1, 2, 30)
    found = estimates(text, table(tmp_path, {"x": x}))
    assert notes(found)["a"] == notes(found)["b"]
    assert notes(found)["a"] in ("not identified (along a - b)", "not identified (along b - a)")
    entries = by_title(found)
    assert entries["a"].se is entries["a"].low is None
    assert entries["s"].se == pytest.approx(x.std() / 60**0.5, rel=1e-5)
    assert entries["total"].se == pytest.approx(x.std() / 30**0.5, rel=1e-5)
    assert found.free_parameters == 2


def test_a_curved_direction_is_told_in_constrained_numbers(tmp_path: Path) -> None:
    text = "param r : positive\nparam s : positive\nplate n:\n    observed x : count ~ Poisson(r * s)\n"
    found = estimates(
        text, table(tmp_path, {"x": RANDOM.poisson(6, 30)}), start={"r": torch.tensor(2.0), "s": torch.tensor(3.0)}
    )
    assert found.free_parameters == 1
    assert all(note is not None and note.startswith("not identified (along ") for note in notes(found).values())
    r, s = by_title(found).values()
    change = {term.name: term.weight for term in r.along}
    assert change["r"] / change["s"] == pytest.approx(-r.estimate / s.estimate, rel=1e-3)


def test_probabilities_at_their_bounds(tmp_path: Path) -> None:
    text = "size K = 3\nparam p : simplex[K]\nparam q : unit\nparam r : unit\nparam rate : positive\nplate n:\n"
    text += "    observed x : category[K] ~ Categorical(p)\n    observed y : bit ~ Bernoulli(q)\n"
    text += "    observed z : bit ~ Bernoulli(r)\n    observed k : count ~ Poisson(rate)\n"
    ones, zeros = [1] * 20, [0] * 20
    data = table(tmp_path, {"x": [0] * 12 + [2] * 8, "y": ones, "z": zeros, "k": zeros})
    found = estimates(text, data)
    at_bound = {name for name, note in notes(found).items() if note == "at its bound"}
    assert at_bound == {"p[1]", "q", "r", "rate"}
    entries = by_title(found)
    assert entries["p[0]"].se == pytest.approx((0.6 * 0.4 / 20) ** 0.5, rel=1e-5)
    assert found.free_parameters == 1


def test_a_simplex_with_all_in_one_place_is_at_its_bound(tmp_path: Path) -> None:
    text = "size K = 3\nparam p : simplex[K]\nplate n:\n    observed x : category[K] ~ Categorical(p)\n"
    found = estimates(text, table(tmp_path, {"x": [1] * 9}))
    assert set(notes(found).values()) == {"at its bound"}
    assert found.free_parameters == 0


def test_an_element_that_no_row_met(tmp_path: Path) -> None:
    text = "size K = 3\nplate k[K]:\n    param m : real\n    param p : simplex[2]\nplate n:\n    given c : index[k]\n"
    text += "    observed x : real ~ Normal(m[c], 1)\n    observed y : category[2] ~ Categorical(p[c])\n"
    c, y = [0] * 10 + [2] * 6, [0, 1] * 8
    found = estimates(text, table(tmp_path, {"c": c, "x": RANDOM.normal(0, 1, 16), "y": y}))
    unmet = {name for name, note in notes(found).items() if note == "met no row"}
    assert unmet == {"m[1]", "p[1, 0]", "p[1, 1]"}
    assert by_title(found)["m[0]"].se == pytest.approx(10**-0.5, rel=1e-6)
    assert found.free_parameters == 4


def test_separated_groups_grow_without_bound(tmp_path: Path) -> None:
    text = (
        "param a : real\nparam b : real\nplate n:\n    given x : real\n    observed y : bit ~ Bernoulli(sigmoid(a + b * x))\n"
    )
    x = np.arange(-5, 5) + 0.5
    start = {"a": torch.tensor(1e-9).double(), "b": torch.tensor(60.0).double()}
    found = estimates(text, table(tmp_path, {"x": x, "y": (x > 0).astype(int)}), start=start, steps=0)
    assert notes(found)["b"] == "grows without bound"
    found = estimates(text, table(tmp_path, {"x": x + 9, "y": (x > 0).astype(int)}), steps=60)
    assert notes(found) == dict.fromkeys("ab", "grows without bound")
    assert found.free_parameters == 0


def test_elsewhere_than_at_a_maximum(tmp_path: Path) -> None:
    text = "param m : real\nplate n:\n    observed x : real ~ Normal(m, 1)\n"
    data = table(tmp_path, {"x": RANDOM.normal(0, 1, 20)})
    found = estimates(text, data, start={"m": torch.tensor(2.0).double()}, steps=0)
    assert notes(found) == {"m": "no maximum here"}
    assert (found.free_parameters, found.aic, found.bic) == (None, None, None)
    assert found.notes[-1].startswith("not at a maximum: more than 4")


def test_long_work_is_announced_only_where_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "SILENT", 0.0)
    text = "param m : real\nplate n:\n    observed x : real ~ Normal(m, 1)\n"
    data, said = table(tmp_path, {"x": RANDOM.normal(0, 1, 20)}), []
    estimates(text, data, start={"m": torch.tensor(2.0).double()}, steps=0, say=said.append)
    assert said == []  # a fit that has not arrived has no standard errors
    estimates(text, data, say=said.append)
    assert [line.partition(",")[0] for line in said] == ["standard errors: 1 numbers"]


def test_a_saddle_is_no_maximum(tmp_path: Path) -> None:
    text = "param a : real\nparam b : real\nplate n:\n    observed x : real ~ Normal(a * b, 1)\n"
    data = table(tmp_path, {"x": 1 + RANDOM.normal(0, 1, 20)})
    start = {"a": torch.tensor(0.0).double(), "b": torch.tensor(0.0).double()}
    found = estimates(text, data, start=start, steps=0)
    assert set(notes(found).values()) == {"no maximum here"}
    assert "curves upward" in found.notes[-1]


def test_a_fit_that_is_at_no_maximum_has_not_converged() -> None:
    """Whatever its steps say, which see no slope far out."""
    text = "converged: at most 1e-09 nats below a local maximum; 10 starts: 3 reached -113.1008"
    bent, edge, there = (Standard(-1.0, rank, misses, {}) for rank, misses in ((None, math.inf), (None, math.nan), (2, 0.0)))
    assert make.ended(text, bent) == "10 starts: 3 reached -113.1008"
    assert make.ended(text, edge) == make.ended(text, there) == make.ended(text, None) == text
    assert make.ended("not converged: still rising", bent) == "not converged: still rising"


def test_one_row_has_no_bic(tmp_path: Path) -> None:
    text = "param m : real\nplate n:\n    plate t:\n        observed x : real ~ Normal(m, 1)\n"
    found = estimates(text, table(tmp_path, {"x": [[1.0, 2.0, 4.0]]}))
    assert found.rows == 1
    assert found.bic is None
    assert found.aic is not None


def test_a_bound_is_no_likelihood(tmp_path: Path) -> None:
    text = "param w : real\nlatent m : real ~ Normal(0, 10)\nlet twice = 2 * m\nplate n:\n    given u : real\n"
    text += "    observed x : real ~ Normal(m + w * u, 1)\n"
    data = table(tmp_path, {"u": RANDOM.normal(0, 1, 9), "x": RANDOM.normal(0, 1, 9)})
    found = estimates(text, data, steps=0)
    assert notes(found) == {"w": "a bound and not a likelihood"} | dict.fromkeys(("m", "twice"), "posterior mean and deviation")
    m, twice = by_title(found)["m"], by_title(found)["twice"]
    assert m.se is not None
    assert (twice.estimate, twice.se) == (pytest.approx(2 * m.estimate, abs=0.1 * m.se), pytest.approx(2 * m.se, rel=0.05))
    assert twice.derived
    assert (found.free_parameters, found.aic, found.bic) == (None, None, None)


def test_too_many_numbers_are_said_to_be_so(tmp_path: Path) -> None:
    text = "size D = 2500\nparam m : real[D]\nplate n:\n    observed x : real[D] ~ Normal(m, 1)\n"
    found = estimates(text, table(tmp_path, {"x": np.zeros((2, 2500))}), steps=0)
    assert len(found.parameters) == 2500
    assert {entry.note for entry in found.parameters} == {"too many numbers for standard errors (2500)"}


def test_a_point_estimate_has_the_curvature_of_the_joint(tmp_path: Path) -> None:
    text = "latent m : real ~ Normal(0, 2)\nplate n:\n    observed x : real ~ Normal(m, 1)\ninfer:\n    m : map\n"
    found = estimates(text, table(tmp_path, {"x": RANDOM.normal(1, 1, 8)}))
    (m,) = found.parameters
    assert (m.se, m.note) == (pytest.approx((8 + 0.25) ** -0.5, rel=1e-6), "point estimate")
    assert (found.aic, found.bic) == (None, None)
