"""Functions, comparisons as numbers, and casts as nodes: by the interpreter, what the oracle says."""

import pytest
import torch

from tests.factors.test_joint import compare
from vispec.source import Source

SPEC = """
size K = 3
param a : real
param s : positive
param u : unit
param q : simplex[K]
plate n:
    given t : real
    given k : count
    latent c : category[K] ~ Categorical(q)
    observed x : real ~ Normal({}, s)
"""
VALUES = [
    "sin(a * t) + cos(t)",
    "erf(t) * a + Phi(t - a)",
    "lgamma(k + 1) + lgamma(s + u)",
    "floor(3 * t) + round(2 * t) - sign(t) * a",
    "(c == 1) + (t > 0) - (k == 1) * a",
    "sum([c == 0, t > a, u])",
    "log(t) * a if t > 0 else a / (k + 1)",
    "unit(u / (1 + k)) + positive(s + k) + count(k + 1)",
    "dot(simplex([u, 1 - u]), [a, t])",
]


@pytest.mark.parametrize("value", VALUES)
def test_functions(value: str) -> None:
    with torch.no_grad():
        compare(Source("tiny.vispec", SPEC.format(value)))
