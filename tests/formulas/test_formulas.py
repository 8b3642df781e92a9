"""The formulas that `explain` prints are what the program computes: read again, evaluated in float64 and compared, for every
spec and for random ones. The joint stands beside all laws, the marginal beside brute force, the recursion of a chain beside
its sequences, the objective beside the emitted module at the draws that this made, and its gradient beside that of the module.

Not evaluated: integrals, the density of the weights of a net (their divergence is), and which draws an expectation is of."""

from pathlib import Path

import pytest
import torch

from tests.formulas.gradients import gradients, has_section
from tests.formulas.told import Told
from tests.random.grammar import random_spec
from vispec.diagnostics import SpecError
from vispec.source import Source
from vispec.verify.errors import NotCheckedError

SPECS = sorted(Path(__file__).parents[2].joinpath("specs").glob("*.vispec"))
NEAR = 1e-10
NONE = {24, 25, 50}  # refused, or without a value: the mean of nothing, an element that is not there


def agree(told: Told) -> set[str]:
    """All formulas of one spec; those that could be evaluated."""
    generator = torch.Generator().manual_seed(1)
    found = {"objective": told.objective(), "joint": told.joint(generator)}
    if any(section.heading == "Marginal" for section in told.explanation.sections):
        found |= {"marginal": pair} if (pair := told.marginal()) is not None else {}
    found |= {f"recursion {i}": pair for i, pair in enumerate(told.recursions(generator))}
    for what, (mine, theirs) in found.items():
        message = lambda text, what=what: f"{what}: {text}\n{told.formula}"  # noqa: E731
        torch.testing.assert_close(mine, theirs, rtol=NEAR, atol=NEAR, msg=message)
    for parameter, mine, theirs in gradients(told):
        message = lambda text, what=parameter: f"gradient by {what}: {text}\n{told.read('Gradient')}"  # noqa: E731
        torch.testing.assert_close(mine, theirs, rtol=NEAR, atol=NEAR, msg=message)
        found["gradient"] = mine, theirs
    return {what.partition(" ")[0] for what in found}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_formulas_of_specs_are_what_is_computed(path: Path):
    told = Told.of(Source.read(path), {})
    if told.model.integrated:  # what integrals come to, `verify` compares
        assert "∫ d" in told.formula
        return
    found = agree(told)
    chained = any("sequences" in section.heading for section in told.explanation.sections)
    fitted = told.plan.combine == "exact" and not told.plan.has_shared and has_section(told)
    expected = {"recursion": chained, "gradient": fitted}
    assert found >= {"objective", "joint", *(what for what, there in expected.items() if there)}
    equal, bound = (f" {sign} " in told.formula for sign in ("=", "≥"))
    estimator = told.trial.built.module.estimator
    assert equal == (estimator.startswith("exact") and not told.plan.bayesian_nets), estimator
    assert equal or bound or told.plan.combine == "mc"


@pytest.mark.parametrize("seed", range(60))
def test_formulas_of_random_specs_are_what_is_computed(seed: int):
    drawn = random_spec(seed, plain=seed % 2 == 0)
    try:
        told = Told.of(Source("drawn.vispec", drawn.text), drawn.sizes, seed)
        if not told.model.integrated:
            agree(told)
    except (SpecError, NotCheckedError):
        assert seed in NONE
    except Exception as error:
        raise AssertionError(drawn.text) from error
