"""Distribution functions and their gradients against 50 digits, for all laws of the catalog that have them: at draws of each
law, and 3 and 30 times as far out, for counts, degrees of freedom, concentrations, rates and scales of 0.02 to 3e3.

Relative to the logarithm, 1e-8 in float64 and 1e-5 in float32 are allowed, and what the rounding of the arguments does to it.
Gradients may err by 1e-5 of themselves, or of their root mean square over the points."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from mpmath import mp, mpf
from tail_references import TAILS
from test_precision import ENTRIES, exact, formed, held, slope, values
from torch import Tensor

from vispec.catalog import Distribution

SCALES = (0.02, 3e3)
NONE = {"Flat": "has no mass", "HardKumaraswamy": "is itself censored", "VonMises": "lives on a circle"}
"""Laws on single numbers without distribution functions, and why."""


@cache
def tails(name: str, *arguments: Any) -> tuple[Any, Any]:
    return TAILS[name](*arguments)


def of_numbers(entry: Distribution) -> bool:
    return entry.event_dim == 0 and entry.support != "index"


def examples(entry: Distribution) -> Iterator[dict[str, Any]]:
    """The entry's examples, and the first with each count, degree, concentration, ... scaled."""
    yield from (dict(each) for each in entry.examples)
    for name, domain in entry.params.items():
        for scale in SCALES if domain in ("positive", "count") else ():
            first = dict(entry.examples[0])
            scaled = first[name] * scale
            yield first | {name: max(1.0, round(scaled)) if domain == "count" else scaled}


def points(entry: Distribution, params: dict[str, Tensor]) -> list[Tensor]:
    """Draws, and points 3 and 30 times as far from their median, inside the domain."""
    draws = values(entry, params)
    middle = draws.median()
    far = middle + 10 * (draws - middle)
    found = torch.cat([draws, far.round() if entry.support == "count" else far])
    inside = {"positive": found > 0, "unit": (found > 0) & (found < 1), "count": found >= 0}.get(entry.support, found < 1e38)
    return list(found[inside & (found.abs() < 1e30)][::3])


def test_every_law_on_numbers_has_them_or_says_why() -> None:
    numbers = {name for name, entry in ENTRIES.items() if of_numbers(entry)}
    have = {name for name in numbers if ENTRIES[name].log_cdf and ENTRIES[name].log_survival}
    assert have == set(TAILS)
    assert numbers - have == set(NONE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", TAILS)
def test_tails_and_gradients_have_their_digits(name: str, dtype: torch.dtype) -> None:
    entry = ENTRIES[name]
    for example in examples(entry):
        params = {n: torch.tensor(p, dtype=torch.float64).to(dtype) for n, p in example.items()}
        raw = [held(entry, n, torch.tensor(p, dtype=torch.float64)).to(dtype) for n, p in example.items()]
        if any(not p.isfinite() for p in raw):
            continue
        at = [x.to(dtype) for x in points(entry, {n: p.double() for n, p in params.items()})]
        if not at:  # all draws of a LogNormal of this scale are beyond the largest number
            continue
        for which, kernel in enumerate((entry.log_cdf, entry.log_survival)):
            check(entry, kernel, which, at, raw, f"{name} {('cdf', 'survival')[which]} {example} {dtype}")


def check(entry: Distribution, kernel: Any, which: int, at: list[Tensor], params: list[Tensor], told: str) -> None:
    whole = {i for i, domain in enumerate(entry.params.values(), 1) if domain == "count"}
    by_value = entry.support in ("real", "positive", "unit")
    single = at[0].dtype == torch.float32

    def reference(*arguments: Any) -> Any:
        return tails(entry.name, *arguments)[which]

    slopes = []
    for point in at:
        inputs = [point.clone(), *(p.clone() for p in params)]
        wanted = reference(*map(exact, inputs))
        asked = [i for i in range(len(inputs)) if (i or by_value) and i not in whole]
        for i in asked:
            inputs[i].requires_grad_()
        got = kernel(inputs[0], *formed(entry, inputs[1:]))
        assert got.dtype == point.dtype, told
        gradients = torch.autograd.grad(got, [inputs[i] for i in asked], allow_unused=True) if got.requires_grad else ()
        assert not any(g is not None and g.isnan() for g in gradients), f"{told}: {point}"
        if not mp.isfinite(wanted) or abs(wanted) > 1e30 or abs(wanted) < 1e-30:
            assert got.item() == pytest.approx(float(wanted), rel=1e-5, abs=1e-30), f"{told}: {point}"
            continue
        rows = [
            (mpf(0.0 if g is None else g.item()), slope(reference, [exact(x.detach()) for x in inputs], i, ()), inputs[i])
            for i, g in zip(asked, gradients, strict=False)
        ]
        slopes.append([row[:2] for row in rows])
        condition = mp.fsum(abs(mpf(x.item()) * t) for _, t, x in rows)
        allowed = (mpf(10) ** (-5 if single else -8)) * abs(wanted) + 4 * torch.finfo(point.dtype).eps * condition
        assert abs(got.item() - wanted) <= allowed, f"{told} at {point}: {got.item()} {float(wanted)}"
    for each in zip(*slopes, strict=True):
        spread = mp.sqrt(mp.fsum(t * t for _, t in each) / len(each))
        for got, true in each:
            if single and abs(true) > 3e38:
                continue
            assert abs(got - true) <= 1e-5 * max(abs(true), spread) + 1e-25, (
                f"{told}: gradient {float(got)} {float(true)} ± {float(spread)}"
            )


@pytest.mark.parametrize("name", TAILS)
def test_both_tails_sum_to_one(name: str) -> None:
    """Also outside the domain and at its ends, where one is certain, with gradients that are numbers."""
    entry = ENTRIES[name]
    for example in entry.examples:
        raw = [held(entry, n, torch.tensor(p, dtype=torch.float64)).requires_grad_() for n, p in example.items()]
        x = torch.tensor([-3.0, -1.0, 0.0, 0.25, 0.5, 1.0, 2.0, 7.0, 50.0], dtype=torch.float64, requires_grad=True)
        assert entry.log_cdf
        assert entry.log_survival
        below, above = (kernel(x, *formed(entry, raw)).expand(9) for kernel in (entry.log_cdf, entry.log_survival))
        torch.testing.assert_close(below.exp() + above.exp(), torch.ones_like(x), rtol=1e-12, atol=0)
        assert (below.exp().diff() >= 0).all()
        for found in (below, above):
            finite = found[found.isfinite()].sum()
            gradients = torch.autograd.grad(finite, [x, *raw], allow_unused=True) if finite.requires_grad else ()
            assert not any(g is not None and g.isnan().any() for g in gradients)


@pytest.mark.parametrize(
    ("name", "params", "x"),
    [
        ("Gamma", (1e7, 2.0), (4.99e6, 5e6, 5.02e6)),
        ("Poisson", (5e6,), (4.99e6, 5e6, 5.02e6)),
        ("StudentT", (1e7, 0.0, 1.0), (-30.0, 0.0, 5.0)),
    ],
)
def test_parameters_of_millions(name: str, params: tuple[float, ...], x: tuple[float, ...]) -> None:
    """Against the mass of the density itself between two points, by Simpson's rule."""
    entry = ENTRIES[name]
    raw = [torch.tensor(p, dtype=torch.float64) for p in params]
    log_cdf, log_survival = entry.log_cdf, entry.log_survival
    assert log_cdf is not None
    assert log_survival is not None
    assert entry.kernel is not None
    for low, high in pairwise(x):
        if entry.support == "count":
            grid = torch.arange(low + 1, high + 1, dtype=torch.float64)
            mass = entry.kernel(grid, *raw).exp().sum()
        else:
            grid = torch.linspace(low, high, 400_001, dtype=torch.float64)
            weight = torch.full_like(grid, 2.0)
            weight[1::2] = 4.0
            weight[[0, -1]] = 1.0
            mass = (weight * entry.kernel(grid, *raw).exp()).sum() * (high - low) / 400_000 / 3
        ends = torch.tensor([low, high], dtype=torch.float64)
        assert log_cdf(ends, *raw).exp().diff().item() == pytest.approx(mass.item(), rel=1e-7)
        assert -log_survival(ends, *raw).exp().diff().item() == pytest.approx(mass.item(), rel=1e-7)
