"""Predictions of missing numbers beside Gaussian latents, against the density of the data with the cell filled in: it is normal
in the cell's value, so that three values of it tell the mean and the deviation, by log_prob alone."""

import math
import re
from typing import Any

import pytest
import torch

from tests.gaussian.drawn import gaussian_spec
from vispec.model.check import check
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.build import build, randomise
from vispec.verify.data import random_batch

MEDIAN_TO_84 = 0.8413447460685429


def suits(text: str) -> bool:
    """Whether a spec is exact, has no labels and a proper posterior, and some number in it may be missing."""
    shared = re.search(r"^(latent|plate [gh])", text, re.MULTILINE)
    if "partial" not in text or "Flat()" in text or "plate m[M]" in text or (shared and "infer:" not in text):
        return False
    return check(parse(Source("drawn.vispec", text + "\n")))[0] is not None  # an index may fit two places


SEEDS = [seed for seed in range(100, 190) if suits(gaussian_spec(seed, vague=0))]


def cells(module: Any, batch: dict[str, torch.Tensor], model: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Missing numbers of variables that are partial, within the lengths of their plates."""
    found = []
    for variable in model.variables:
        if variable.role != "partial" or variable.type.domain != "real":
            continue
        for place in (~batch[f"{variable.name}_observed"]).nonzero().tolist():
            lengths = [model.plate[p] for p in variable.plates]
            there = all(
                not p.ragged or place[at] < int(batch[p.length_key][tuple(place[: len(p.inside)])])
                for at, p in enumerate(lengths)
            )
            if there:
                found.append((variable.name, tuple(place)))
    return found


def filled(module: Any, batch: dict[str, torch.Tensor], name: str, at: tuple[int, ...], value: torch.Tensor) -> float:
    x, seen = batch[name].clone(), batch[f"{name}_observed"].clone()
    x[at], seen[at] = value, True
    return module.log_prob(batch | {name: x, f"{name}_observed": seen})[at[0]].item()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_missing_number_has_the_law_that_the_density_says(seed: int) -> None:
    text = gaussian_spec(seed, vague=0)  # whose densities differ enough between these values
    built = build(Source("drawn.vispec", text + "\n"), {})
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    module: Any = built.module
    missing = []
    while not missing:
        batch = random_batch(built.model, built.sizes, 1 if built.model.single else 3, generator)
        missing = cells(module, batch, built.model)
    for name, at in missing[:4]:
        told = module.predict(batch)[name][at]
        if told.dim():
            assert told.tolist() == pytest.approx(by_differences(module, batch, name, at).tolist(), rel=1e-6, abs=1e-6), text
            continue
        low, middle, high = (filled(module, batch, name, at, torch.tensor(v, dtype=torch.float64)) for v in (-1.0, 0.0, 1.0))
        precision = 2 * middle - low - high
        mean = (high - low) / 2 / precision
        assert told.item() == pytest.approx(mean, rel=1e-6, abs=1e-6), (text, name, at)
        if not any(v.role == "partial" and v.type.shape for v in built.model.variables):
            quantile = module.predict(batch, rule=f"quantiles({MEDIAN_TO_84})")[name][at].item()
            assert quantile == pytest.approx(mean + 1 / math.sqrt(precision), rel=1e-5, abs=1e-5), (text, name, at)


def by_differences(module: Any, batch: dict[str, torch.Tensor], name: str, at: tuple[int, ...]) -> torch.Tensor:
    """The mean of a vector: where the density with it filled in is highest, by its differences at 0."""
    zero = torch.zeros_like(batch[name][at])
    unit = torch.eye(len(zero), dtype=zero.dtype)
    base = filled(module, batch, name, at, zero)
    one = torch.tensor([[filled(module, batch, name, at, sign * u) for u in unit] for sign in (1.0, -1.0)], dtype=torch.float64)
    slope, hessian = (one[0] - one[1]) / 2, torch.diag(one[0] + one[1] - 2 * base)
    for i in range(len(zero)):
        for j in range(i):
            both = filled(module, batch, name, at, unit[i] + unit[j])
            hessian[i, j] = hessian[j, i] = both - base - slope[i] - slope[j] - (hessian[i, i] + hessian[j, j]) / 2
    return torch.linalg.solve(-hessian, slope)
