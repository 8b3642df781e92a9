"""Two variables under one law are two draws: in samples of the model, from the prior, under a guide, and along a chain."""

import math
import re
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import nn

from vispec.compile import compile_spec
from vispec.source import Source

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.vispec"))
TWINS = """
size K = 3
plate k[K]:
    param m : real
plate n:
    latent a : bit ~ Bernoulli(0.5)
    latent b : bit ~ Bernoulli(0.5)
    latent c : index[k] ~ Uniform()
    latent d : index[k] ~ Uniform()
    latent e : real ~ Normal(0, 1)
    latent f : real ~ Normal(0, 1)
    latent g : positive ~ Gamma(2, 1)
    latent h : positive ~ Gamma(2, 1)
    latent p : simplex[K] ~ Dirichlet(2)
    latent q : simplex[K] ~ Dirichlet(2)
    observed x : category[K] ~ Uniform()
    observed y : category[K] ~ Uniform()
    observed z : bit ~ Uniform() if a else Uniform()
    observed s : real ~ Normal(m[c] + m[d] + e * f + a * b + g * h + dot(p, q), 1)
    observed t : real ~ Normal(m[c] + m[d] + e * f + a * b + g * h + dot(p, q), 1)
"""
STEPS = """
plate n:
    observed x : bit ~ Bernoulli(0.5)
    chain t[3]:
        observed y : bit ~ Bernoulli(0.5) then Bernoulli(0.5) if y[t-1] else Bernoulli(0.5)
        observed z : bit ~ Bernoulli(0.5) then Bernoulli(0.5) if z[t-1] else Bernoulli(0.5)
"""
PRIOR = """
plate n:
    latent a : real ~ Normal(0, 1)
    latent b : real ~ Normal(0, 1)
    observed x : real ~ Normal(a + b, 1)
infer:
    a : mc(samples=40000)
    b : mc(samples=40000)
"""
GUIDED = """
plate n:
    latent a : {type} ~ {law}
    latent b : {type} ~ {law}
    observed x : real ~ Normal(a - b, 1)
guide:
    a ~ {law}
    b ~ {law}
infer:
    a : {estimator}
    b : {estimator}
"""


def module_of(text: str, name: str = "Twins") -> nn.Module:
    namespace: dict = {}
    exec(compile_spec(Source(f"{name.lower()}.vispec", text)), namespace)
    torch.manual_seed(0)
    return namespace[name]()


def correlation(left: torch.Tensor, right: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([left.flatten().double(), right.flatten().double()]))[0, 1])


def test_samples_of_twins_are_uncorrelated() -> None:
    found = module_of(TWINS).sample(4000)
    for left, right in ("ab", "cd", "ef", "gh", "pq", "xy", "az"):
        assert abs(correlation(found[left], found[right])) < 5 / math.sqrt(4000)
    residuals = [found[name] - found[name].mean() for name in "st"]
    assert not torch.equal(*residuals)


def test_each_step_of_a_chain_is_drawn_anew() -> None:
    found = module_of(STEPS, "Steps").sample(4000)
    draws = [found["x"], *found["y"].unbind(1), *found["z"].unbind(1)]
    for left, right in combinations(draws, 2):
        assert abs(correlation(left, right)) < 5 / math.sqrt(4000)


def test_the_prior_of_twins_is_the_product_of_theirs() -> None:
    x = torch.tensor([0.0, 2.0])
    found = module_of(PRIOR, "Prior").log_prob({"x": x})
    torch.testing.assert_close(found, torch.distributions.Normal(0.0, math.sqrt(3.0)).log_prob(x), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("type_", "law", "estimator"),
    [
        ("real", "Normal(0, 1)", "elbo(samples=20000)"),
        ("real", "Normal(0, 1)", "elbo(samples=20000, gradient=score)"),
        ("bit", "Bernoulli(0.5)", "score(samples=20000)"),
        ("bit", "Bernoulli(0.5)", "relaxed(temperature=0.001)"),
    ],
)
def test_under_one_guide_they_differ(type_: str, law: str, estimator: str) -> None:
    """E[log Normal(x; a - b, 1)] at x = 0 is -(log 2π + Var[a - b]) / 2; twins that were one would have no variance."""
    module = module_of(GUIDED.format(type=type_, law=law, estimator=estimator), "Guided")
    found = module.log_prob({"x": torch.zeros(20000 if "relaxed" in estimator else 2)}).mean()
    variance = 2.0 if type_ == "real" else 0.5
    assert found.item() == pytest.approx(-(math.log(2 * math.pi) + variance) / 2, abs=0.05)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_no_spec_samples_two_variables_by_one_draw(path: Path) -> None:
    text = compile_spec(Source(path.name, path.read_text()))
    for line in re.findall(r"        return \{(\"[^{}]*)\}\n", text):
        names = {
            name: code for name, code in re.findall(r'"(\w+)": (\w+(?:\["\w+"\])?)', line) if not name.endswith("_observed")
        }
        assert len({*names.values()}) == len(names)
