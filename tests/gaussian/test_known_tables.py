"""Classical tables, whose log-likelihoods are known from R, lme4, KFAS and statsmodels, and from dense normal laws in
float64."""

from pathlib import Path

import pytest

import vispec

DATA = Path(__file__).parent / "data"
SPECS = Path(__file__).parents[2] / "specs"

NILE = """\
param s_level : positive
param s_obs   : positive
chain t:
    latent  level : real ~ Normal(1000, 500) then Normal(level[t-1], s_level)
    partial x     : real ~ Normal(level, s_obs)
"""
SLOPES = """\
param b : real[2]
param t : positive[2]
param s : positive
plate subject:
    latent u : real ~ Normal(b[0], t[0])
    latent v : real ~ Normal(0, t[1])
    plate i:
        given    days : real
        observed x    : real ~ Normal(u + (b[1] + v) * days, s)
"""
DYESTUFF = """\
size B
param mu : real
param s_batch : positive
param s : positive
plate b[B]:
    latent u : real ~ Normal(0, s_batch)
plate n:
    given    batch : index[b]
    observed x : real ~ Normal(mu + u[batch], s)
infer:
    u : exact
"""
REML = DYESTUFF.replace("param mu : real", "latent mu : real ~ Flat()").replace(
    "    u : exact", "    u : exact\n    mu : exact"
)
KNOWN = [
    (NILE, "nile", {"s_level": 38.0, "s_obs": 123.0}, -639.7118331496),
    (NILE, "nile_missing", {"s_level": 38.0, "s_obs": 123.0}, -387.7333925652),
    (
        SLOPES,
        "sleepstudy",
        {"b": [251.40510, 10.46729], "t": [24.17126, 5.79941], "s": 25.55613},
        -876.0016275699,
    ),
    (DYESTUFF, "dyestuff", {"mu": 1527.5, "s_batch": 37.26034, "s": 49.51010}, -163.6635299406),
    (REML, "dyestuff", {"s_batch": 42.00060, "s": 49.51010}, -159.8271384211),
]


@pytest.mark.parametrize(("spec", "table", "values", "log_prob"), KNOWN)
def test_values_at_parameters_are_known(spec: str, table: str, values: dict, log_prob: float):
    run = vispec.load(spec).at(DATA / f"{table}.csv", values)
    assert run.score(DATA / f"{table}.csv").log_prob == pytest.approx(log_prob, rel=1e-8)


FITTED = [
    (NILE, "nile", -639.7117071159, {"s_level": 38.26107, "s_obs": 122.90407}),
    (NILE.replace("Normal(1000, 500)", "Flat()"), "nile", -632.5456251030, {"s_level": 38.32984, "s_obs": 122.87603}),
    ((SPECS / "random_slopes.vispec").read_text(), "sleepstudy", -875.9696722316, {"s": 25.59182}),
    (
        (SPECS / "autoregression.vispec").read_text(),
        "presidents",
        -416.8922732715,
        {"mu": 56.1504, "phi": 0.824153, "s": 9.244925},
    ),
]


@pytest.mark.parametrize(("spec", "table", "log_prob", "values"), FITTED)
def test_a_fit_arrives_at_the_maximum(tmp_path: Path, spec: str, table: str, log_prob: float, values: dict):
    run = vispec.load(spec).fit(DATA / f"{table}.csv", out=tmp_path / "run", verify=False, quiet=True, restarts=2)
    assert run.score(DATA / f"{table}.csv").log_prob == pytest.approx(log_prob, abs=1e-3)
    assert all(float(getattr(run.module, name)) == pytest.approx(value, rel=1e-3) for name, value in values.items())
