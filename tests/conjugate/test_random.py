"""Random models of conjugate pairs: integrated, and equal to a check that knows no pairs; gradients by differences."""

import sys
from typing import Any

import pytest
import torch

from tests.conjugate.drawn import conjugate_spec
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.verify.build import build, randomise
from vispec.verify.data import random_batch
from vispec.verify.verify import verify


def problems(seed: int) -> list[str]:
    """What is wrong of one."""
    text = conjugate_spec(seed)
    source = Source("drawn.vispec", text)
    built = build(source, {})
    left = [name for name, found in plan_model(built.model).row.treatments.items() if found.kind == "draw"]
    found = [f"{name} is drawn" for name in left]
    report = verify(source, seed=seed, rows=3)
    found += [f"{check}" for check in report.checks if check.differs]
    return found


@pytest.mark.parametrize("seed", range(24))
def test_a_random_model_is_the_integral_of_its_joint(seed: int) -> None:
    assert not problems(seed), conjugate_spec(seed)


@pytest.mark.parametrize("seed", range(6))
def test_gradients_are_differences(seed: int) -> None:
    built = build(Source("drawn.vispec", conjugate_spec(seed)), {})
    randomise(built, torch.Generator().manual_seed(seed))
    batch = random_batch(built.model, built.sizes, 60, torch.Generator().manual_seed(seed))
    module: Any = built.module.double()
    step = 1e-5
    rows = module.log_prob(batch)
    possible = rows.isfinite()
    assert possible.any()
    total = rows[possible].sum()
    parameters = [*module.parameters()]
    for parameter, slope in zip(
        parameters, torch.autograd.grad(total, parameters, materialize_grads=True, allow_unused=True), strict=True
    ):
        for index in torch.ones_like(parameter).nonzero():
            at = tuple(index.tolist())
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter[at] += sign * step
                    values.append(module.log_prob(batch)[possible].sum())
                    parameter[at] -= sign * step
            difference = (values[0] - values[1]) / (2 * step)
            assert slope[at].item() == pytest.approx(difference.item(), rel=1e-6, abs=1e-6)


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:3])
    for seed in range(first, last):
        try:
            found = problems(seed)
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        if found:
            print(seed, found, conjugate_spec(seed), sep="\n", flush=True)
