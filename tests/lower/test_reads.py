"""What the tensor program can read of latents and the emitter could not: each agrees with brute force."""

import pytest

from vispec.source import Source
from vispec.verify.verify import verify

SPECS = {
    "hidden": """\
plate n:
    plate e[3]:
        latent c : bit ~ Bernoulli(0.3)
    plate i:
        latent a : index[e] ~ Uniform()
        observed x : real ~ Normal(c[a], 1)
""",
    "lag3": """\
plate k[2]:
    param stay : simplex[2]
plate n:
    chain t[5]:
        latent   c : index[k] ~ Uniform() then Uniform() then Uniform() then Categorical(stay[c[t-3]])
        observed x : real ~ Normal(c, 1)
""",
    "several": """\
plate n:
    plate e[3]:
        latent c : bit ~ Bernoulli(0.3)
    plate i:
        given a : index[e]
        given b : index[e]
        observed x : real ~ Normal(c[a] + 2 * c[b], 1)
""",
    "whole_chain": """\
net f(c: bit*) -> real = linear(3) |> mean
plate n:
    chain t:
        latent c : bit ~ Bernoulli(0.3) then Bernoulli(0.8 if c[t-1] else 0.2)
        observed x : real ~ Normal(c, 1)
    observed y : real ~ Normal(f(c[*]), 1)
""",
    "prefix_drawn2": """\
net f(p: real*) -> (loc: real, scale: positive) = gru(embed=2, hidden=2)
plate n:
    chain t:
        latent z : real ~ Normal(f(z[<t]))
        observed x : real ~ Normal(z, 1)
guide:
    z ~ Normal(x, 1)
""",
    "past_let": """\
plate n:
    chain t:
        given x : real
        let v = x * 2
        observed y : real ~ Normal(0, 1) then Normal(v[t-1], 1)
""",
    "past_let_latent": """\
plate n:
    chain t:
        latent c : bit ~ Bernoulli(0.3) then Bernoulli(0.8 if c[t-1] else 0.2)
        let v = 2 * c + 1
        observed y : real ~ Normal(v, 1) then Normal(v[t-1], 1)
""",
}


@pytest.mark.parametrize("name", SPECS)
def test_agrees_with_brute_force(name: str) -> None:
    report = verify(Source(f"{name}.vispec", SPECS[name]))
    assert report.checks
    assert [check for check in report.checks if check.differs] == []
