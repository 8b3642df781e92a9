"""Guides that read what the data has of a partial variable: the emitted bound against brute force, in every shape of plates."""

import pytest
import torch

from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.verify.verify import verify

ANSWERS = """
plate item[3]:
    latent easy : real ~ Normal(2, 3)
plate student:
    latent skill : real ~ Normal(0, 1)
    plate item:
        partial right : bit ~ Bernoulli(sigmoid(skill + easy))
"""
OWN = """
param a : real
net guess(x: real, known: bit) -> (loc: real, scale: positive) = mlp([4])
plate n:
    latent  z : real ~ Normal(0, 1)
    partial x : real ~ Normal(a * z, 1)
guide:
    z ~ Normal(guess(x, seen(x)))
"""
RAGGED = """
param a : real
net guess(x: positive*, known: bit*) -> (loc: real, scale: positive) = mean |> mlp([4])
plate n:
    latent z : real ~ Normal(0, 1)
    plate i:
        partial x : positive ~ LogNormal(a * z, 1)
guide:
    z ~ Normal(guess(x[*], seen(x[*])))
"""
WORDS = """
vocab V
param b : real[V]
net guess(x: token[V]*) -> (loc: real, scale: positive) = embed(3) |> mean |> mlp([4])
plate n:
    latent z : real ~ Normal(0, 1)
    plate i:
        partial x : token[V] ~ Categorical(softmax(z * b))
guide:
    z ~ Normal(guess(x[*]))
"""
VECTORS = """
param w : real[2]
net guess(x: real[2]) -> (loc: real, scale: positive) = mlp([4])
plate n:
    latent  z : real    ~ Normal(0, 1)
    partial x : real[2] ~ Normal(w * z, 1)
    partial y : bit     ~ Bernoulli(sigmoid(z))
guide:
    let known = seen(y)
    z ~ Normal(guess(x).loc + known * y, guess(x).scale)
"""
CHAIN = """
param a : real
net guess(x: real, known: bit, before: real) -> (loc: real, scale: positive) = mlp([4])
plate n:
    chain t:
        latent  z : real ~ Normal(0, 1) then Normal(a * z[t-1], 1)
        partial x : real ~ Normal(z, 1)
guide:
    z ~ Normal(guess(x, seen(x), 0)) then Normal(guess(x, seen(x), z[t-1]))
"""
SUMMED = """
size K = 3
param mu : real[K]
net guess(known: bit, x: real) -> (loc: real, scale: positive) = mlp([4])
plate n:
    partial  c : category[K] ~ Uniform()
    latent   z : real ~ Normal(mu[c], 1)
    observed x : real ~ Normal(z, 1)
guide:
    z ~ Normal(guess(seen(c), x))
"""
SIBLING = """
param a : real
plate n:
    latent   z : real ~ Normal(0, 1)
    partial  x : real ~ Normal(a * z, 1)
    observed y : real ~ Normal(z, 1)
infer:
    z : elbo(samples=1)
"""
PAST = """
net guess(before: category[3], known: bit, step: real) -> (loc: real, scale: positive) = mlp([4])
param mu : real
plate n:
    chain t:
        latent  z : real ~ Normal(0, 1) then Normal(z[t-1], 0.3)
        partial x : category[3] ~ Categorical(softmax([mu, z, 0]))
guide:
    z ~ Normal(0, 2) then Normal(guess(x[t-1], seen(x[t-1]), t))
"""
PREFIX = """
net guess(xs: real*) -> (loc: real, scale: positive) = gru(3)
param mu : real
plate n:
    chain t:
        latent  z : real ~ Normal(0, 1) then Normal(z[t-1], 0.3)
        partial x : real ~ Normal(mu * z, 1)
guide:
    z ~ Normal(guess(x[<t]))
"""
SPECS = {name.lower(): text for name, text in list(globals().items()) if name.isupper() and isinstance(text, str)}


@pytest.mark.parametrize("name", SPECS)
def test_against_brute_force(name: str) -> None:
    report = verify(Source(f"{name}.vispec", SPECS[name]))
    assert not report.differs, str(report)
    assert any("bound" in check.name for check in report.checks), str(report)
    assert all("bound" not in check.name for check in report.unchecked), str(report)


def test_what_is_missing_is_not_read() -> None:
    """Whatever stands in a cell that the data lacks, even nan, the bound and its gradient are the same."""
    space: dict = {}
    code = compile_spec(Source("m.vispec", OWN))
    exec(code, space)
    module = space[class_of(code)]().double()
    observed = torch.tensor([True, False])
    found = []
    for rubbish in (0.0, float("nan")):
        torch.manual_seed(0)
        log_prob = module.log_prob({"x": torch.tensor([0.7, rubbish], dtype=torch.float64), "x_observed": observed})
        found.append([log_prob, *torch.autograd.grad(log_prob.sum(), [p for p in module.parameters() if p.requires_grad])])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_an_automatic_guide_reads_which_cells_are_there() -> None:
    code = compile_spec(Source("m.vispec", ANSWERS))
    assert "(right: bit[3], right_seen: bit[3]) → (loc: real, scale: positive)" in code
    assert "self.easy_loc = nn.Parameter(2 + 0.3 * torch.randn(3))" in code
    assert "self.raw_easy_scale = nn.Parameter(torch.full((3,), -1.05))  # (item)" in code  # softplus(-1.05) = 0.3
