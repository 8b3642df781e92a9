"""What a law may not read, as it may not be there, or every text would have to be enumerated; the ways out; and paths that are
enumerated."""

import pytest

from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.verify import verify

SHOTS = """\
param p : unit
plate person:
    chain day:
        plate shot:
            observed x : bit ~ Bernoulli(0.5) then Bernoulli(0.9 if x[day-1] else p)
"""
LATENT = """\
plate k[2]:
    param stay : simplex[2]
plate person:
    chain day:
        plate shot:
            latent   c : index[k] ~ Uniform() then Categorical(stay[c[day-1]])
            observed x : real     ~ Normal(c, 1)
"""
POINTS = """\
param p : unit
plate person:
    plate day:
        given a : index[day]
        plate shot:
            given    y : bit
            observed x : bit ~ Bernoulli(0.9 if y[a, shot] else p)
"""
TEXT = """\
vocab W(end=true)
net f(p: token[W]*) -> simplex[W] = gru(embed=4, hidden=4)
plate s:
    chain t:
        partial w : token[W] ~ Categorical(f(w[<t]))
"""
COUNT = """\
plate s:
    {kind} t:
        {role} w : bit ~ Bernoulli(0.3)
        observed x : real ~ Normal(sum(w[<t]), 1)
"""
GUIDED = """\
net f(p: bit*) -> (loc: real, scale: positive) = gru(embed=2, hidden=2)
plate s:
    chain t:
        latent   w : bit  ~ Bernoulli(0.3)
        latent   z : real ~ Normal(w, 1)
        observed x : real ~ Normal(z, 1)
guide:
    z ~ Normal(f(w[<t]))
"""
SHARED = """\
plate school[3]:
    given  prior : positive
    let    twice = 2 * prior
    latent theta : real ~ Normal(0, twice)
plate n:
    given    s : index[school]
    observed y : real ~ Normal(theta[s], 1)
"""


@pytest.mark.parametrize(
    ("text", "code", "cause"),
    [
        (SHOTS, "V720", "x[day-1]"),
        (SHOTS.replace("plate person:\n    chain day:", "plate person[2]:\n    chain day:"), "V720", "x[day-1]"),
        (LATENT, "V720", "c[day-1]"),
        (POINTS, "V720", "y[a, shot]"),
        (TEXT, "V703", "w[<t]"),
        (TEXT.replace("vocab W(end=true)", "vocab W"), "V703", "w[<t]"),
        (SHARED, "V721", "prior"),
    ],
)
def test_it_is_refused_with_a_caret(text: str, code: str, cause: str) -> None:
    with pytest.raises(SpecError) as refused:
        plan_model(check_model(parse(Source("refused.vispec", text))))
    found = next(d for d in refused.value.diagnostics if d.code == code)
    assert text[found.primary.span.start : found.primary.span.end] == cause
    assert found.help


@pytest.mark.parametrize(
    "text",
    [
        SHOTS.replace("plate shot:", "plate shot[2]:"),
        SHOTS.replace("    chain day:\n        plate shot:", "    plate shot:\n        chain day:"),
        SHOTS.replace("    chain day:", "    plate shot:\n        given w : bit\n    chain day:"),
        COUNT.format(kind="chain", role="observed"),
        COUNT.format(kind="chain", role="partial"),
        COUNT.format(kind="chain", role="latent"),
        COUNT.format(kind="chain", role="partial").replace("sum(w[<t])", "w + sum(w[<t])"),
        GUIDED,
    ],
)
def test_these_are_summed(text: str) -> None:
    report = verify(Source("allowed.vispec", text), rows=2)
    assert [check.name for check in report.checks if check.differs] == []
