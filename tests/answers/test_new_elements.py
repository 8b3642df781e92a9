"""Rows of groups that the fit did not meet: what is latent of them comes from its law, given what all groups share."""

from pathlib import Path

import numpy as np
import pytest

import vispec

SPEC = """
size G
param mu : real
param tau : positive
param sigma : positive
plate g[G]:
    latent u : real ~ Normal(mu, tau)
plate n:
    given school : index[g]
    given x : real
    partial y : real ~ Normal(u[school] + x, sigma)
"""
rng = np.random.default_rng(0)
SCHOOLS = np.repeat(["a", "b", "c", "d"], 30)
MEANS = {"a": -3.0, "b": 0.0, "c": 2.0, "d": 5.0}
TABLE = {
    "school": SCHOOLS,
    "x": rng.normal(size=120),
    "y": np.array([MEANS[school] for school in SCHOOLS]) + rng.normal(size=120),
}
TABLE["y"] = TABLE["y"] + TABLE["x"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> vispec.Run:
    folder = tmp_path_factory.mktemp("new") / "run"
    return vispec.load(SPEC).fit(TABLE, out=folder, quiet=True, verify=False, epochs=400, lr=0.05, seed=1)


def test_a_new_group_is_predicted_by_the_law_of_groups(run: vispec.Run) -> None:
    new = {"school": ["z", "a", "z", "k"], "x": [0.0, 0.0, 1.0, 0.0], "y": [None] * 4}
    found = run.predict(new, "quantiles(.05, .5, .95)", new="prior", samples=4000, seed=2)
    params = run.params()
    mu, spread = float(params["mu"]), float(np.hypot(params["tau"], params["sigma"]))
    assert found["y_q50"][0] == pytest.approx(mu, abs=0.3)
    assert found["y_q50"][2] == pytest.approx(mu + 1, abs=0.3)
    assert found["y_q95"][3] - found["y_q05"][3] == pytest.approx(2 * 1.645 * spread, rel=0.1)
    known = run.predict({"school": ["a"], "x": [0.0], "y": [None]}, "quantiles(.05, .5, .95)", samples=4000)
    assert found["y_q50"][1] == pytest.approx(known["y_q50"][0], abs=0.1)
    assert known["y_q50"][0] == pytest.approx(-3.0, abs=0.5)


def test_without_being_asked_it_is_an_error(run: vispec.Run) -> None:
    with pytest.raises(vispec.DataError, match="the label 'z' is not among those of the training data"):
        run.predict({"school": ["z"], "x": [0.0], "y": [None]}, "mean")
    with pytest.raises(vispec.OptionError, match="it is 'prior' or None"):
        run.predict({"school": ["z"], "x": [0.0], "y": [None]}, "mean", new="posterior")  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_what_no_law_says_is_refused(tmp_path: Path) -> None:
    spec = SPEC.replace("latent u : real ~ Normal(mu, tau)", "param u : real").replace(
        "param mu : real\nparam tau : positive\n", ""
    )
    run = vispec.load(spec).fit(TABLE, out=tmp_path / "run", quiet=True, verify=False)
    with pytest.raises(vispec.RunError, match="`u` is a parameter of each element, without a law"):
        run.predict({"school": ["z"], "x": [0.0], "y": [None]}, "mean", new="prior")
    assert run.predict({"school": ["a"], "x": [0.0], "y": [None]}, "mean", new="prior")["y"][0] == pytest.approx(-3.0, abs=0.5)


POINTED = """
size G
size D = 2
{declared}
plate g[G]:
    latent u : real ~ Normal(0, 1)
plate n:
    given school : index[g]
    partial y : real ~ Normal({mean}, 1)
"""
WHOLE = {
    "weights": ("param w : real[G]", "w[school] + u[school]"),
    "shares": ("param w : simplex[G]", "w[school] + u[school]"),
    "net": ("net f(s: index[g]) -> real = embed(2) |> mlp([])", "f(school) + u[school]"),
    "number": ("param b : real", "b / G + u[school]"),
    "sum": ("param b : real", "b * mean(u[*]) + u[school]"),
    "each": ("param b : real", "b + max(u - 1 for g)"),
    "position": ("param b : real", "u[school]"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_what_depends_on_all_elements_has_no_further_one(kind: str, tmp_path: Path) -> None:
    """Else what is known of the others would change without a word."""
    declared, mean = WHOLE[kind]
    spec = POINTED.format(declared=declared, mean=mean)
    if kind == "position":
        spec = spec.replace("Normal(0, 1)", "Normal(b * g, 1)")
    table = {"school": list("abab"), "y": [1.0, 2.0, 1.5, 2.5]}
    run = vispec.load(spec).fit(table, out=tmp_path / "run", quiet=True, verify=False, epochs=2)
    with pytest.raises(vispec.RunError, match="on all of its elements, or on how many there are"):
        run.predict({"school": ["z"], "y": [None]}, "mean", new="prior")
