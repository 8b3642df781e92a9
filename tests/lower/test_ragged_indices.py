"""Indices into a plate that is ragged in a chain, whose elements differ in number from one element of the chain to the next."""

import pytest
import torch

from tests.random.compare import loaded
from vispec.compile import compile_spec
from vispec.source import Source
from vispec.verify.verify import verify

AROUND = """\
plate n:
    chain t:
        plate i:
            observed x : positive ~ Exponential(1)
    chain t:
"""
UNIFORM = AROUND + "        latent z : index[i] ~ Uniform() then Uniform()\n        observed w : real ~ Normal(z, 1)\n"
PAST = UNIFORM.replace("then Uniform()", "then Categorical(softmax(0.1 * i + 0.2 * z[t-1] for i))")
BESIDE = UNIFORM.replace(
    "        latent z",
    "        latent c : bit ~ Bernoulli(0.3) then Bernoulli(0.2 + 0.5 * c[t-1])\n        latent z",
).replace("then Uniform()", "then Categorical(softmax(i * c for i))")
PARTIAL = UNIFORM.replace("latent z", "partial z")
SPECS = {"uniform": UNIFORM, "past": PAST, "beside": BESIDE, "partial": PARTIAL}


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_each_has_the_values_of_its_own_element(text: str) -> None:
    report = verify(Source("spec.vispec", text), rows=2)
    assert [check.name for check in report.checks if check.differs] == []


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_rows_are_drawn_inside_their_ends(text: str) -> None:
    lengths = {"t": torch.tensor([3, 1, 2]), "i": torch.tensor([[2, 1, 3], [2, 0, 0], [3, 1, 0]])}
    torch.manual_seed(0)
    module = loaded(compile_spec(Source("spec.vispec", text)))
    for _ in range(20):
        z = module.sample(3, lengths=lengths)["z"]  # pyright: ignore[reportCallIssue]
        assert bool((z < lengths["i"].clamp(min=1)).all())
        assert bool((z[:, 1:] == 0)[torch.arange(1, 3) >= lengths["t"][:, None]].all())


def test_joint_values_that_a_row_has_not_are_impossible() -> None:
    """The latent is read as a whole, and its plate has fewer elements in some rows than in others."""
    text = """\
plate n:
    plate i:
        observed x : positive ~ Exponential(1)
    plate t:
        latent z : index[i] ~ Uniform()
    observed w : real ~ Normal(sum(z[*]), 1)
"""
    report = verify(Source("spec.vispec", text), rows=3)
    assert [check.name for check in report.checks if check.differs] == []
