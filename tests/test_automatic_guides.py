"""Automatic guides reach the posterior, or near it, in a fit that a user would wait for, on data that are not near 1.

Where the integral would be exact by itself, `infer:` asks for draws.
"""

import csv
import json
import math
import random
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.compile import compile_spec
from vispec.source import Source
from vispec.verify.verify import verify

RATES = """param a : positive
param b : positive

plate n:
    given t  : count
    latent p : unit ~ Beta(a, b)
    observed y : count ~ Binomial(t, p)

infer:
    p : elbo(samples=1)

fit:
    decay : linear
"""
SHARES = """size K = 4
latent p : simplex[K] ~ Dirichlet([1, 1, 1, 1])

plate n:
    observed y : category[K] ~ Categorical(p)

infer:
    p : elbo(samples=1)

fit:
    decay : linear
"""
COUNTS = [50, 100, 150, 200]


def fit(folder: Path, spec: str, columns: dict[str, list], *options: str) -> None:
    (folder / "model.vispec").write_text(spec)
    with (folder / "data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
    vispec("fit", folder / "model.vispec", folder / "data.csv", "--out", folder / "run", *options)


def vispec(*args: str | Path) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stdout


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def test_a_net_from_counts_reaches_the_likelihood_of_rates(tmp_path: Path) -> None:
    draw = random.Random(0)
    trials = [draw.randint(100, 500) for _ in range(80)]
    hits = [sum(draw.random() < p for _ in range(t)) for t in trials for p in [draw.betavariate(2, 12)]]
    fit(tmp_path, RATES, {"t": trials, "y": hits}, "--epochs", "1500", "--lr", "0.02")
    data = tmp_path / "data.csv"
    score = json.loads(vispec("eval", tmp_path / "run", data, "--json", "--estimator", "iwae(1000)"))

    def exact(a: float, b: float) -> float:
        choose = [math.lgamma(t + 1) - math.lgamma(y + 1) - math.lgamma(t - y + 1) for t, y in zip(trials, hits, strict=True)]
        beta = [log_beta(a + y, b + t - y) - log_beta(a, b) for t, y in zip(trials, hits, strict=True)]
        return sum(choose) + sum(beta)

    best = max(exact(a / 10, b / 2) for a in range(5, 50) for b in range(5, 60))
    assert best - 8 < score["log_prob"] < best + 0.5
    assert score["diagnostics"]["effective_samples"] > 30


def test_a_dirichlet_finds_a_concentrated_posterior(tmp_path: Path) -> None:
    fit(
        tmp_path, SHARES, {"y": [k for k, count in enumerate(COUNTS) for _ in range(count)]}, "--epochs", "2500", "--lr", "0.02"
    )
    line = vispec("posterior", tmp_path / "run", tmp_path / "data.csv", "--jsonl", "--query", "marginals").splitlines()[0]
    found = json.loads(line)["(shared)"]["p"]["concentration"]
    total = sum(COUNTS) + 4
    assert sum(found) == pytest.approx(total, rel=0.25)
    for value, count in zip(found, COUNTS, strict=True):
        mean = (count + 1) / total
        assert value / sum(found) == pytest.approx(mean, abs=0.3 * math.sqrt(mean / total))


LEVEL = """plate n:
    chain t[20]:
        latent h : real ~ Normal(0, 1) then Normal(h[t-1], 0.3)
        observed x : real ~ Normal(h, 1)

infer:
    h : elbo(samples=1)
"""
CHAINS = [
    LEVEL,
    LEVEL.replace("t[20]", "t"),
    LEVEL.replace("observed", "given w : real\n        partial").replace("plate n:", "plate n:\n    given y : count"),
    LEVEL.replace("h : real", "h : real[2]").replace("Normal(h, 1)", "Normal(sum(h), 1)"),
    LEVEL.replace("h : real ~ Normal(0, 1) then Normal(h[t-1], 0.3)", "h : positive ~ Gamma(2, 2) then Gamma(2, 2 / h[t-1])"),
]


@pytest.mark.parametrize("text", CHAINS)
def test_a_guide_along_a_chain_agrees_with_brute_force(text: str) -> None:
    report = verify(Source("chain.vispec", text))
    assert not report.differs, str(report)


def test_a_chain_is_smoothed(tmp_path: Path) -> None:
    """The bound is near the exact log-probability, which a guide of each element on its own would be far from."""
    torch.manual_seed(0)
    first, steps = torch.randn(200, 1), 0.3 * torch.randn(200, 19)
    h = torch.cat([first, steps], 1).cumsum(1)
    x = h + torch.randn(200, 20)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"x": row}) + "\n" for row in x.tolist()))
    (tmp_path / "chain.vispec").write_text(LEVEL)
    run, data = tmp_path / "run", tmp_path / "data.jsonl"
    vispec("fit", tmp_path / "chain.vispec", data, "--out", run, "--epochs", "60", "--lr", "0.01", "--batch", "20")
    found = json.loads(vispec("eval", run, data, "--json"))["log_prob_per_row"]
    ages = torch.arange(20.0)
    cov = 1 + 0.09 * torch.minimum(ages[:, None], ages) + torch.eye(20)
    exact = torch.distributions.MultivariateNormal(torch.zeros(20), cov).log_prob(x).mean().item()
    assert exact - 1.0 < found < exact + 0.2


TWO_PLATES = """\
plate n:
    latent z : real[2] ~ Normal(0, 1)
    plate i:
        observed a : category[3] ~ Categorical(softmax([z[0], z[1], 0]))
        partial b : real ~ Normal(z[0], 1)
    plate j:
        observed c : count ~ Poisson(exp(z[1]))
    plate k[2]:
        observed d : category[3] ~ Categorical(softmax([z[1], z[0], 0]))
"""


def test_sequences_of_several_plates_are_read_each_by_a_net_of_its_own() -> None:
    """They have other lengths, so nothing could stand beside them element by element."""
    source = Source("spec.vispec", TWO_PLATES)
    assert [check.name for check in verify(source, rows=3).checks if check.differs] == []
    assert "class EncodeZJ(nn.Module):" in compile_spec(source)


NESTED = """\
param a : real
param t : positive[3]
plate s:
    latent x : real ~ Normal(a, t[0])
    plate c:
        given size : real
        latent y : real ~ Normal(x + size, t[1])
        plate p:
            latent z : real ~ Normal(y, t[2])
            plate d:
                observed o : real ~ Normal(z, 1)
                partial q : real ~ Normal(z, 2)

infer:
    x : elbo(samples=1)
    y : elbo(samples=1)
    z : elbo(samples=1)
"""


def test_plates_within_plates_are_read_from_the_inside() -> None:
    """As pupils in classes in schools: each element of an inner plate becomes a vector, which the guide one plate out reads."""
    source = Source("spec.vispec", NESTED)
    assert [check.name for check in verify(source, rows=3).checks if check.differs] == []
    module = compile_spec(source)
    assert all(f"class {name}(nn.Module):" in module for name in ("EachCOfX", "EachPOfX", "EachPOfY"))


def test_effects_of_nested_groups_are_found(tmp_path: Path) -> None:
    """The bound comes near the likelihood, which is that of one multivariate normal law for each outer group."""
    rng = random.Random(1)
    data = torch.zeros(40, 4, 5, dtype=torch.float64)
    for group in data:
        outer = rng.gauss(1, 1)
        for part in group:
            inner = rng.gauss(outer, 0.5)
            part.copy_(torch.tensor([rng.gauss(inner, 0.3) for _ in range(5)]))
    spec, table = tmp_path / "m.vispec", tmp_path / "d.jsonl"
    table.write_text("".join(json.dumps({"o": group}) + "\n" for group in data.tolist()), encoding="utf-8")
    spec.write_text(
        "param a : real\nplate s:\n    latent x : real ~ Normal(a, 1)\n    plate c:\n        latent y : real ~ Normal(x, 0.5)\n"
        "        plate d:\n            observed o : real ~ Normal(y, 0.3)\n"
        "infer:\n    x : elbo(samples=1)\n    y : elbo(samples=1)\n",
        encoding="utf-8",
    )
    result = CliRunner().invoke(main, ["fit", str(spec), str(table), "--out", str(tmp_path / "run"), "--json"])
    assert result.exit_code == 0, result.output
    bound = json.loads(result.stdout)["train"]["log_prob"]
    same_class = torch.block_diag(*[torch.ones(5, 5, dtype=torch.float64)] * 4)
    covariance = 1 + 0.25 * same_class + 0.09 * torch.eye(20, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(data.mean().expand(20), covariance)
    exact = float(law.log_prob(data.flatten(1)).sum())
    assert exact - 10 < bound < exact + 1
