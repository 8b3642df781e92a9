"""What the checker infers instead of refusing agrees with enumeration, and what its help lines say to write compiles."""

import pytest

from vispec.diagnostics import Diagnostic
from vispec.model.check import check
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.verify import verify

SPEC = """
size K = 3
param init : simplex[K]
param pair : simplex[2]
param s  : unit
param a  : positive
param b  : positive
param sd : positive[3]
plate k[K]:
    param w : real

plate n:
    given q : positive
    plate i:
        given y : real
    latent z : category[K] ~ Categorical(init)
    latent c : bit ~ Bernoulli(s)
    latent d : bit ~ Bernoulli(0.5)
    latent m : index[k] ~ Categorical(softmax(w[*]))
    {}
"""
PAIR = "observed x : category[2] ~ Categorical({})".format
TRIPLE = "observed x : category[K] ~ Categorical({})".format
COUNT = "observed x : count ~ {}".format
REAL = "observed x : real ~ Normal(q + d + m, {})".format


def found(line: str) -> tuple[Diagnostic, ...]:
    return tuple(d for d in check(parse(Source("tiny.vispec", SPEC.format(line))))[1] if d.severity == "error")


@pytest.mark.parametrize(
    "line",
    [
        TRIPLE("one_hot(z)"),
        PAIR("[1 - s, s]"),
        TRIPLE("[s, 1 - s, 0]"),
        PAIR("[1 - c, c]"),
        PAIR("[0.3, 0.7] if c else [0.6, 0.4]"),
        PAIR("[0.3, 0.7] if c else pair"),
        PAIR("pair if c else [s, 1 - s]"),
        TRIPLE("one_hot(z) if c else [0.2, 0.3, 0.5]"),
        COUNT("NegativeBinomial(a, b / (b + a))"),
        COUNT("NegativeBinomial(a, a / (a + b + 1))"),
        COUNT("NegativeBinomial(a, m / (m + b))"),
        COUNT("Binomial(m, d * s)"),
        COUNT("NegativeBinomial(a, c * d * s)"),
        COUNT("Geometric(c * s + (1 - c) * 0.2)"),
        COUNT("Binomial(m, 1 - s*c)"),
        COUNT("Poisson(1 + c + 2*d)"),
        COUNT("Poisson(0.5 + 0.5*c + m)"),
        COUNT("Poisson(|y| + 0.001)"),
        COUNT("Binomial(m, s)"),
        REAL("a + (q - b)^2"),
        REAL("abs(q - b) + 0.001"),
        REAL("1 if c else 0.5 + d"),
        TRIPLE("softmax(log([s, c, 0.5]))"),
        TRIPLE("softmax(log(sd))"),
    ],
)
def test_agrees_with_enumeration(line: str) -> None:
    assert not found(line)
    report = verify(Source("tiny.vispec", SPEC.format(line)))
    assert not report.differs, str(report)


@pytest.mark.parametrize(
    "line",
    [
        PAIR("[1 - s, a]"),
        PAIR("[1 - a, a]"),
        TRIPLE("[s, 1 - s, 0.1]"),
        TRIPLE("[s, s, 1 - s]"),
        PAIR("[0.3, 0.7] if c else [0.6, 0.5]"),
        COUNT("Binomial(3, d + s)"),
        COUNT("Binomial(3, c * s + (1 - d) * s)"),
        COUNT("Binomial(3, m * s)"),
        COUNT("NegativeBinomial(a, b / (q + a))"),
        COUNT("NegativeBinomial(a, b / (b - a))"),
        COUNT("NegativeBinomial(a, (b + a) / b)"),
        COUNT("NegativeBinomial(a, m / (m + d))"),
        COUNT("NegativeBinomial(a, b / (b + q - a))"),
        COUNT("Poisson(c + 2*d)"),
        COUNT("Poisson(1 + c - d)"),
        COUNT("Poisson(1 + q*(a - b))"),
        COUNT("Poisson(1 + (a - b)^3)"),
        REAL("a + log(b)"),
        REAL("1 if c else d"),
    ],
)
def test_is_refused(line: str) -> None:
    assert {d.code for d in found(line)} == {"V408"}


def test_a_flag_of_an_estimator_stands_by_its_name() -> None:
    spec = "plate n:\n    latent b : bit ~ Bernoulli(0.5)\n    observed x : real ~ Normal(b, 1)\ninfer:\n    b : relaxed({})\n"
    asked = ("temperature=0.7, straight_through", "straight_through, 0.7", "0.7, straight_through=true", "0.7, true")
    models = [check(parse(Source("tiny.vispec", spec.format(settings))))[0] for settings in asked]
    settings = [dict(model.infer[0].estimator.settings) for model in models if model is not None]
    assert settings == [{"temperature": 0.7, "straight_through": True}] * 4


def test_softmax_is_no_help_for_numbers_that_do_not_sum_to_1() -> None:
    (wrong,) = found(TRIPLE("[0.5, 0.3, 0.3]"))
    assert "sum to 1.1" in wrong.message
    assert "softmax" not in (wrong.help or "")
