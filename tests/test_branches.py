"""A branch that is not taken sends no gradient, whatever its values; and a comparison is a number where one is needed."""

import random

import pytest
import torch

from tests.test_laws import agrees
from vispec.source import Source
from vispec.verify import checks
from vispec.verify.build import build, randomise
from vispec.verify.trial import Trial, small_batch

ROWS = 6
EXTREME = (0.0, 1000.0, -1000.0, 2.0, -0.5, 7.0)
SPEC = """
param a : real
param s : positive
param p : unit
plate k[2]:
    param w : real
plate n:
    given t : real
    given u : real
    plate k:
        let high = exp(w * t)
    given m : count
    latent z : index[k] ~ Categorical([p, 1 - p])
    let steep = exp(a * t)
    observed x : real ~ {}
    observed y : positive ~ Exponential(s)
    observed b : bit ~ {}
"""
CHAIN = """
param a : real
param s : positive
plate n:
    chain i:
        given    t : real
        observed x : real ~ {}
"""


def trial_of(text: str, seed: int) -> Trial:
    """A trial whose data have extreme numbers."""
    built = build(Source("tiny.vispec", text), {})
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    batch, _ = small_batch(built, ROWS, generator, 3_000)
    for name in ("t", "u"):
        if name in batch:
            order = torch.randint(len(EXTREME), batch[name].shape, generator=generator)
            batch[name] = torch.tensor(EXTREME, dtype=batch[name].dtype)[order]
    return Trial(built, batch, ROWS)


STEEP = {
    "t < 10": ["exp(a + t)", "exp(s * t)", "(steep if t > -5 else 1)", "exp(w[z] + t)"],
    "t == 2": ["high[z]", "sum(high[*])", "sum(high + a for k)", "dot(high[*], w[*])"],
    "t > 0": ["log(t) * a", "sqrt(t) * s", "a / t", "t^-s", "lgamma(t) * a", "log(s * t)", "(w[z] / t)"],
    "t > u": ["log(t - u) * s", "a / (t - u)", "sqrt(s * (t - u))", "log(positive(t - u)) * a"],
    "m > 0": ["a / m", "log(s / m)", "sum(w[k] / m for k)", "a * unit(1 / m)"],
    "m > 0 and t < 10": ["exp(t + a) / m"],
    "not (t <= 0)": ["log(t) + w[z]"],
    "t > 0 and z == 1": ["a / t", "log(t) * w[z]"],
}
OF_LAWS = {
    "t < 10": ["exp(a + t)", "steep + w[z]", "exp(w[z] + t)"],
    "t > 0": ["a / t", "a * t^-0.5", "w[z] / t"],
    "m > 0 and t < 10": ["exp(a + t) / m", "a / m"],
}
PLAIN = ["a", "w[z]", "0", "s * m", "a * 2"]


def branch(generator: random.Random, depth: int = 1) -> str:
    """A choice with a branch that is steep, or undefined, where it is not taken."""
    test = generator.choice(list(STEEP))
    other = generator.choice(PLAIN) if depth == 0 or generator.random() < 0.5 else branch(generator, depth - 1)
    return f"({generator.choice(STEEP[test])} if {test} else {other})"


@pytest.mark.parametrize("seed", range(24))
def test_gradients_of_branches(seed: int) -> None:
    generator = random.Random(seed)
    loc, odds = branch(generator), branch(generator, 0)
    law = f"Normal({loc}, s)"
    if seed % 3 == 0:
        test = generator.choice(list(OF_LAWS))
        law = f"Normal({generator.choice(OF_LAWS[test])}, s) if {test} else Normal({generator.choice(PLAIN)}, 1)"
    trial = trial_of(SPEC.format(law, f"Bernoulli(sigmoid({odds}))"), seed)
    agrees(checks.check_log_prob(trial))
    agrees(checks.check_gradient(trial))


@pytest.mark.parametrize(
    "law",
    [
        "Normal(a, s) then Normal(a * log(x[i-1]^2 + s) / i, s)",
        "Normal(a, s) then Normal(a / i, s)",
        "Normal(a, s) then Normal(a, s) then Normal(s * log(positive(i - 1)) + a * x[i-2], s)",
        "Normal(a, s) then ShiftedLogNormal(a, s, -50 / i)",
        "Normal(exp(a + t) if t < 10 else a, s) then Normal(log(t) * s if t > 0 else a, s)",
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_first_elements_of_chains(law: str, seed: int) -> None:
    trial = trial_of(CHAIN.format(law), seed)
    agrees(checks.check_log_prob(trial))
    agrees(checks.check_gradient(trial))


BITS = """
size K = 3
param p : unit
param a : real
param q : simplex[K]
plate k[K]:
    param w : real
plate n:
    given m : count
    given t : real
    latent c : category[K] ~ Categorical(q)
    latent d : index[k] ~ Categorical(q)
    let h = {}
    observed x : real ~ Normal({}, 1)
    observed b : bit ~ Bernoulli({})
    observed e : count ~ Binomial(3, {})
"""
TESTS = ["c == 1", "c != 2", "d == 0", "t > 0", "m == 1", "not (c == 1)", "c == 1 and t > 0", "c == 0 or d == 1", "h"]
NUMBERS = [
    "({0}) + ({1})",
    "({0}) - ({1})",
    "a * ({0})",
    "exp({0}) + a",
    "-({0})",
    "sum([{0}, {1}])",
    "max({0}, a)",
    "m * ({0})",
    "d - ({0})",
    "({0}) / 2 + a",
    "2 ^ ({0})",
    "sum(w[k] * ({0}) for k)",
    "mean(({0}) * ({1}) for k)",
    "(({0}) if {1} else a)",
    "dot([{0}, {1}], [a, 2])",
    "({0})",
]


@pytest.mark.parametrize("seed", range(24))
def test_comparisons_are_numbers(seed: int) -> None:
    generator = random.Random(seed)
    first, second = (generator.choice(TESTS) for _ in range(2))
    number = NUMBERS[seed % len(NUMBERS)].format(first, second)
    let = generator.choice(TESTS[:-1])
    trial = trial_of(BITS.format(let, number, generator.choice(TESTS), f"p * ({generator.choice(TESTS)})"), seed)
    agrees(checks.check_log_prob(trial))
    agrees(checks.check_gradient(trial))
