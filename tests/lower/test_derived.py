"""A `let` that no law reads takes no part in log_prob and can be asked for: exactly where latents are summed, else by draws."""

import json
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.verify.verify import verify

SITES = """
param q : unit
plate region:
    plate site:
        latent z : bit ~ Bernoulli(q)
        latent w : bit ~ Bernoulli(0.3)
        given f : bit
        observed x  : real ~ Normal(z, 1)
        observed x2 : real ~ Normal(w, 1)
"""
CHAIN = """
size K = 3
param pi : simplex[K]
plate k[K]:
    param A : simplex[K]
    param mu : real
plate row:
    chain t:
        latent c : index[k] ~ Categorical(pi) then Categorical(A[c[t-1]])
        observed y : real ~ Normal(mu[c], 1)
        let level = mu[c]
"""
NESTED = """
plate row:
    plate i:
        latent a : bit ~ Bernoulli(0.4)
        plate j:
            latent b : bit ~ Bernoulli(0.3)
            partial y : bit ~ Bernoulli(0.8 if b else 0.4)
            observed x : real ~ Normal(a + y, 1)
"""
QUANTITIES = {
    SITES: {
        "in": ("z * w", "sum(z[*]) - z", "z == w", "[z, x, 2]", "z + x * w"),
        "out": ("sum(z[*]) + sum(w[*])", "sum(z[*] where f[*]) / 2", "max(z[*])", "sum(z[*]) > 1", "mean(x[*])", "|z|"),
    },
    CHAIN: {
        "in": ("c", "sum(level[<t])", "y - mean(level[*])", "max(level[<t]) > y"),
        "out": ("sum(level[*])", "max(level[*])", "min(y[*])"),
    },
    NESTED: {"in": ("a", "sum(b[*]) * a", "-sum(b[*]) / (1 + |b|)", "mean(y[*])", "max(b[*]) == 1"), "out": ()},
}
CASES = [
    (spec, depth, value)
    for spec, found in QUANTITIES.items()
    for depth, values in (("        ", found["in"]), ("    ", found["out"]))
    for value in values
]


def module(text: str, **sizes: int) -> Any:
    printed, names = compile_spec(Source("m.vispec", text), sizes), {}
    exec(printed, names)
    return names[class_of(printed)]().double()


@pytest.mark.parametrize(("spec", "depth", "value"), CASES, ids=[value for _, _, value in CASES])
def test_means_are_those_over_all_assignments(spec: str, depth: str, value: str):
    report = verify(Source("m.vispec", f"{spec}{depth}let asked = {value}\n"))
    (found,) = [check for check in report.checks if check.name == "posterior mean of asked"]
    assert found.cases
    assert not found.differs, found
    assert not [check for check in report.checks if check.differs]


def test_log_prob_is_that_without_it():
    with_it = compile_spec(Source("m.vispec", SITES + "    let total = sum(z[*]) + sum(w[*])\n"), only=["log_prob"])
    assert with_it == compile_spec(Source("m.vispec", SITES), only=["log_prob"])


def test_a_sum_over_many_is_a_sum_of_few():
    """Twelve hundred elements, which no joint value could number; and of a nonlinear quantity, by draws."""
    text = "plate n:\n    plate i[1200]:\n        latent b : bit ~ Bernoulli(0.3)\n"
    text += "        observed y : bit ~ Bernoulli(0.9 if b else 0.1)\n"
    found = module(text + "    let total = sum(b[*])\n    let any = max(b[*])\n    let square = sum(b[*]) * sum(b[*])\n")
    y = torch.zeros(2, 1200).double()
    y[1, :700] = 1
    p = torch.where(y == 1, 0.27 / 0.34, 0.03 / 0.66).double()
    torch.manual_seed(0)
    torch.testing.assert_close(found.posterior({"y": y}, of="total")["total"], p.sum(1))
    mean = found.posterior({"y": y}, of="square", samples=300)["square"]
    expected = p.sum(1).square() + (p * (1 - p)).sum(1)
    assert bool(((mean - expected).abs() < 4 * 2 * p.sum(1) * ((p * (1 - p)).sum(1) / 300).sqrt()).all())
    assert found.posterior({"y": y}, of="any", samples=3)["any"].tolist() == [[0, 1], [0, 1]]


def test_drawn_latents_are_weighed_by_the_data():
    """z given y is Normal(y / 2, 1 / 2), whatever the guide has learnt; what no law reads follows its own law."""
    text = (
        "plate n:\n    latent z : real ~ Normal(0, 1)\n    observed y : real ~ Normal(z, 1)\n"
        "    latent free : real ~ Normal(z, 1)\n"
        "    let square = z * z\n    let high = z > 0\n    let beyond = free + 1\n    let double = 2 * y\n"
        "guide:\n    z ~ Normal(0, 1)\n"
    )
    torch.manual_seed(0)
    found, y = module(text), torch.tensor([0.5, -1.0]).double()
    batch = {"y": y}
    law = torch.distributions.Normal(y / 2, 0.5**0.5)
    told = {n: found.posterior(batch, of=n, samples=100_000)[n] for n in ("square", "high", "beyond", "double")}
    torch.testing.assert_close(told["square"], (y / 2).square() + 0.5, atol=0.02, rtol=0)
    torch.testing.assert_close(told["high"][:, 1], 1 - law.cdf(torch.zeros(2).double()), atol=0.01, rtol=0)
    torch.testing.assert_close(told["high"].sum(1), torch.ones(2).double())
    torch.testing.assert_close(told["beyond"], y / 2 + 1, atol=0.02, rtol=0)
    assert told["double"].tolist() == [1.0, -2.0]
    with pytest.raises(ValueError, match="no derived quantity 'z'"):
        found.posterior(batch, of="z")


def test_what_all_rows_share():
    text = "latent m : real ~ Normal(0, 1)\nlet twice = 2 * m\n"
    text += "plate n:\n    observed y : real ~ Normal(m, 1)\n    let gap = y - m\n"
    torch.manual_seed(0)
    found = module(text)
    batch = {"y": torch.tensor([0.5, -1.0]).double()}
    mean = found.posterior(batch)["m"]["loc"].detach()
    torch.testing.assert_close(found.posterior(batch, of="twice", samples=100_000)["twice"], 2 * mean, atol=0.02, rtol=0)
    assert found.posterior(batch, of="gap")["gap"].shape == (2,)


def test_the_command_tells_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = SITES.replace("        given f : bit\n", "") + "        let both = z == w\n    let total = sum(z[*]) + sum(w[*])\n"
    (tmp_path / "m.vispec").write_text(spec)
    (tmp_path / "d.jsonl").write_text('{"x": [0.2, 1.7, 0.5], "x2": [1.2, -0.7, 0.4]}\n{"x": [2.1], "x2": [0.1]}\n')

    def vispec(*arguments: str) -> Any:
        return CliRunner().invoke(main, list(arguments))

    assert vispec("fit", "m.vispec", "d.jsonl", "--epochs", "1", "--out", "run", "--no-verify").exit_code == 0
    rows = [json.loads(line) for line in vispec("posterior", "run", "d.jsonl", "--of", "total", "--jsonl").output.splitlines()]
    each = [json.loads(line) for line in vispec("posterior", "run", "d.jsonl", "--jsonl").output.splitlines()]
    expected = [sum(p[1] for name in ("z", "w") for p in row[name]) for row in each]
    assert [row["total"] for row in rows] == pytest.approx(expected, rel=1e-5)
    both = [json.loads(line) for line in vispec("posterior", "run", "d.jsonl", "--of", "both", "--jsonl").output.splitlines()]
    assert [len(row["both"]) for row in both] == [3, 1]
    assert all(sum(p) == pytest.approx(1) for row in both for p in row["both"])
    refused = vispec("posterior", "run", "d.jsonl", "--of", "z")
    assert refused.exit_code != 0


def test_what_takes_too_much_beside_draws_is_refused_when_it_is_asked_for():
    text = "plate r:\n    latent m : real ~ Normal(0, 1)\n    plate t[60]:\n        latent z : bit ~ Bernoulli(0.4)\n"
    found = module(text + "        observed y : real ~ Normal(m + z, 1)\n    let any = max(z[*])\n")
    batch = {"y": torch.zeros(2, 60).double()}
    assert found.log_prob(batch).shape == (2,)
    with pytest.raises(ValueError, match=r"any cannot be told: .* takes 1.1 · 10\^18 terms"):
        found.posterior(batch, of="any")
