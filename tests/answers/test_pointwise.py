"""The log-probability of each part of data that are one row: steps of a chain, elements of a plate."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import vispec
from vispec.cli.main import main

Array = np.ndarray[Any, Any]
PI, TRANS, MU = np.array([0.6, 0.4]), np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([-1.0, 2.0])
HMM = """
param init : simplex[2]
plate k[2]:
    param trans : simplex[2]
    param mu : real
chain t{size}:
    latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
    {role} x : real ~ Normal(mu[c], 1)
"""
PLATE = """
size N
param p : unit = 0.3
plate n[N]:
    latent   c : bit  ~ Bernoulli(p)
    observed x : real ~ Normal(2 * c, 1)
{more}
fit:
    fixed : p
"""


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def each(folder: Path, spec: str, table: str, *words: str) -> Any:
    (folder / "a.vispec").write_text(spec, encoding="utf-8")
    (folder / "a.csv").write_text(table, encoding="utf-8")
    result = call("eval", folder / "a.vispec", folder / "a.csv", "--pointwise", "--json", *words)
    assert result.exit_code == 0, result.output
    whole = call("eval", folder / "a.vispec", folder / "a.csv", "--json", *words)
    found = json.loads(result.stdout)
    assert sum(found["log_prob"]) == pytest.approx(json.loads(whole.stdout)["log_prob"], rel=1e-6)
    return found


def forward(x: Array) -> Array:
    """log p(x_t | x_<t) of the chain, step by step; missing numbers say nothing."""
    state, found = PI, []
    for value in x:
        density = np.ones(2) if np.isnan(value) else np.exp(-0.5 * (value - MU) ** 2) / math.sqrt(2 * math.pi)
        found.append(math.log(state @ density))
        state = (state * density / (state @ density)) @ TRANS
    return np.array(found)


@pytest.mark.parametrize("role", ["observed", "partial"])
@pytest.mark.parametrize("size", ["", "[T]"])
def test_steps_of_a_chain(role: str, size: str, tmp_path: Path) -> None:
    """More of them than are computed at once."""
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=150) * 2, 3)
    if role == "partial":
        x[[0, 7, 8, 149]] = np.nan
    spec = ("size T\n" if size else "") + HMM.format(role=role, size=size)
    table = "x\n" + "".join(f"{'NA' if np.isnan(v) else v}\n" for v in x)
    (tmp_path / "p.json").write_text(json.dumps({"init": PI.tolist(), "trans": TRANS.tolist(), "mu": MU.tolist()}))
    found = each(tmp_path, spec, table, "--params", str(tmp_path / "p.json"))
    assert found["of"] == "step"
    assert found["log_prob"] == pytest.approx(forward(x).tolist(), abs=1e-6)


def test_elements_of_a_plate(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=9)
    found = each(tmp_path, PLATE.format(more=""), "x\n" + "".join(f"{v}\n" for v in x))
    normal = np.exp(-0.5 * (x[:, None] - [0, 2]) ** 2) / math.sqrt(2 * math.pi)
    assert found["of"] == "element"
    assert found["log_prob"] == pytest.approx(np.log(normal @ [0.7, 0.3]).tolist(), abs=1e-6)


def test_a_plate_whose_elements_read_those_before_is_in_order(tmp_path: Path) -> None:
    spec = """
plate k[1]:
    param a : real = 0.5
plate s[1]:
    chain t:
        observed x : real ~ Normal(0, 1) then Normal(a[0] * x[t-1], 1)
fit:
    fixed : a
"""
    (tmp_path / "a.vispec").write_text(spec, encoding="utf-8")
    (tmp_path / "a.json").write_text('{"x": [[0.5, 1.5, -1]]}', encoding="utf-8")
    result = call("eval", tmp_path / "a.vispec", tmp_path / "a.json", "--pointwise")
    assert result.exit_code == 0, result.output
    gaps = np.array([0.5, 1.25, -1.75])
    assert [float(line) for line in result.stdout.split()] == pytest.approx(
        [(-0.5 * gaps**2 - 0.5 * math.log(2 * math.pi)).sum()], abs=1e-5
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (PLATE.format(more="latent z : bit ~ Bernoulli(p)\nobserved y : real ~ Normal(z, 1)"), "elements of one plate"),
        (
            "size N\nlatent z : bit ~ Bernoulli(0.5)\nplate n[N]:\n    observed x : real ~ Normal(z, 1)\n",
            "`z` stands outside `n`",
        ),
        (
            "chain t:\n    observed x : real ~ Normal(0, 1)\n    let half = x / |x|\n"
            "    latent b : bit ~ Bernoulli(0.5)\n    observed y : real ~ Normal(b * |x|, 1)\n",
            "the whole of `t` is read",
        ),
        (
            "size N\nplate n[N]:\n    param m : real = 1\n    observed x : real ~ Normal(m, 1)\nfit:\n    fixed : m\n",
            "elements of `n` cannot be told apart",
        ),
    ],
    ids=["two", "latent", "length", "parameters"],
)
def test_what_has_no_number_of_its_own(spec: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.vispec").write_text(spec, encoding="utf-8")
    (tmp_path / "a.json").write_text(
        '{"x": [1, 2, 3], "y": %s}' % ("1.0" if "z, 1)\nfit" in spec else "[1, 2, 3]"), encoding="utf-8"
    )
    result = call("eval", tmp_path / "a.vispec", tmp_path / "a.json", "--pointwise")
    assert result.exit_code == 1, result.output
    assert words in result.stderr


def test_elements_are_left_out_of_a_fit_and_steps_are_not(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("x\n" + "".join(f"{v}\n" for v in (1.0, 2.5, -0.5, 4.0, 2.0, 1.5)), encoding="utf-8")
    specs = {
        "whole": "size N\nparam mu : real\nplate n[N]:\n    observed x : real ~ Normal(mu, 2)\n",
        "rows": "param mu : real\nplate n:\n    observed x : real ~ Normal(mu, 2)\n",
        "chain": "param mu : real\nchain t:\n    observed x : real ~ Normal(mu, 2)\n",
    }
    for name, spec in specs.items():
        (tmp_path / f"{name}.vispec").write_text(spec, encoding="utf-8")
        result = call("fit", tmp_path / f"{name}.vispec", tmp_path / "n.csv", "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
    found = json.loads(call("compare", tmp_path / "whole", tmp_path / "chain", "--json").stdout)
    whole, chain = found["runs"]
    rows = json.loads(call("compare", tmp_path / "rows", tmp_path / "rows", "--json").stdout)["runs"][0]
    assert whole["elpd"] == pytest.approx(rows["elpd"], abs=1e-6)
    assert chain["elpd"] is None
    assert "no step of `t` can be left out" in chain["note"]
    assert whole["bic"] is None  # one row


def test_json_has_all_digits(tmp_path: Path) -> None:
    """The screen rounds; what a program reads is what the module computes, to the last bit of its precision."""
    (tmp_path / "a.vispec").write_text("plate n:\n    observed x : real ~ Normal(0, 3)\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("x\n0.1\n1234.5\n", encoding="utf-8")
    run = vispec.load(tmp_path / "a.vispec").fit(tmp_path / "a.csv", out=tmp_path / "run", quiet=True)
    exact = run.module.double().log_prob({"x": torch.tensor([0.1, 1234.5], dtype=torch.float64)}).tolist()
    told = call("eval", tmp_path / "run", tmp_path / "a.csv", "--pointwise", "--json")
    assert json.loads(told.stdout)["log_prob"] == exact
    drawn = [json.loads(line)["x"] for line in call("sample", tmp_path / "run", "-n", 3, "--jsonl").stdout.splitlines()]
    assert drawn == [row["x"] for row in run.sample(3)]
