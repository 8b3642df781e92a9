"""Where a fit of each law begins: in the domain of its parameters, near the truth, and to the scale of the data."""

import inspect

import pytest
import torch
from torch import Tensor
from torch import distributions as dist

from tests.test_distributions import log_prob
from vispec.catalog import Distribution, distributions

CASES = [
    pytest.param(entry, dict(example), id=f"{name}-{i}")
    for name, entry in distributions().items()
    for i, example in enumerate(entry.examples)
    if entry.start is not None and 0.0 not in torch.tensor([v for p in example.values() for v in torch.tensor(p).flatten()])
]
LOCATIONS = [case for case in CASES if {"loc", "scale"} <= {*case.values[0].params} and case.values[0].support == "real"]
DOMAINS = {
    "real": lambda p: p.isfinite(),
    "positive": lambda p: (p > 0) & p.isfinite(),
    "unit": lambda p: (p > 0) & (p < 1),
    "simplex": lambda p: (p > 0) & ((p.sum(-1, keepdim=True) - 1).abs() < 1e-9),
    "cholesky": lambda p: p.isfinite() & (p.diagonal(dim1=-2, dim2=-1) > 0).all(),
    "count": lambda p: p >= 0,
}


def draws_of(entry: Distribution, params: list[Tensor], count: int) -> Tensor:
    torch.manual_seed(1)
    if entry.torch_class is not None:
        return getattr(dist, entry.torch_class)(*params).sample((count,))
    rank = {name: entry.param_event_dim.get(name, entry.event_dim) for name in entry.params}
    whole = [p.expand(count, *p.shape[p.dim() - rank[name] :]) for name, p in zip(entry.params, params, strict=True)]
    return entry.sampler(*whole)


def started(entry: Distribution, value: Tensor, params: list[Tensor]) -> list[Tensor]:
    """What the start finds; what it must be told is the truth."""
    known = dict(zip(entry.params, params, strict=False))
    told = list(inspect.signature(entry.start).parameters)[1:]
    return list(entry.start(value, *(known[n] if n in known else params[0].shape[-1] for n in told)))


def parameters(example: dict) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in example.values()]


@pytest.mark.parametrize(("entry", "example"), CASES)
def test_a_start_is_near_the_truth(entry: Distribution, example: dict) -> None:
    truth = parameters(example)
    value = draws_of(entry, truth, 2000)
    found = started(entry, value, truth)
    assert len(found) == len(entry.params)
    for name, each, true in zip(entry.params, found, truth, strict=True):
        assert bool(DOMAINS[entry.params[name]](each).all()), (name, each)
        assert each.shape == true.shape or entry.event_dim == 1
    gap = (log_prob(entry, value, truth) - log_prob(entry, value, found)).mean()
    assert float(gap) < 0.02, found


@pytest.mark.parametrize(("entry", "example"), CASES)
def test_few_elements_give_no_start_outside(entry: Distribution, example: dict) -> None:
    """nan where they do not tell: one element, equal ones, and two."""
    truth = parameters(example)
    value = draws_of(entry, truth, 2)
    for few in (value[:1], value[:1].expand(5, *value.shape[1:]), value):
        for name, each in zip(entry.params, started(entry, few, truth), strict=True):
            told = each[each.isfinite()] if entry.params[name] in ("real", "positive", "unit") else each
            assert bool((DOMAINS[entry.params[name]](told) | told.isnan()).all()), (name, each)


@pytest.mark.parametrize(("entry", "example"), LOCATIONS)
def test_starts_move_with_the_data(entry: Distribution, example: dict) -> None:
    value = draws_of(entry, parameters(example), 100)
    first = dict(zip(entry.params, started(entry, value, []), strict=True))
    moved = dict(zip(entry.params, started(entry, 1000 * value - 7e5, []), strict=True))
    torch.testing.assert_close(moved["loc"], 1000 * first["loc"] - 7e5)
    torch.testing.assert_close(moved["scale"], 1000 * first["scale"])


@pytest.mark.parametrize("name", ["Gamma", "InverseGamma", "Weibull", "Exponential", "HalfNormal", "HalfCauchy", "Pareto"])
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_starts_grow_with_the_data(name: str, factor: float) -> None:
    entry = distributions()[name]
    value = draws_of(entry, parameters(entry.examples[0]), 100)
    powers = {"concentration": 0, "alpha": 0, "scale": 1, "rate": 1 if name == "InverseGamma" else -1}
    for param, first, scaled in zip(entry.params, started(entry, value, []), started(entry, factor * value, []), strict=True):
        torch.testing.assert_close(scaled, first * factor ** powers[param])


def test_location_and_scale_of_others() -> None:
    """LogNormal's location moves by the logarithm; TruncatedNormal's, Uniform's and a vector's parameters with the numbers."""
    value = torch.rand(100, 2, dtype=torch.float64) + 0.5
    loc, scale = distributions()["LogNormal"].start(value)
    torch.testing.assert_close(distributions()["LogNormal"].start(value * 50), (loc + torch.tensor(50.0).log(), scale))
    for name in ("TruncatedNormal", "Uniform", "MultivariateNormal"):
        first, scaled = (distributions()[name].start(factor * value) for factor in (1, 1000))
        torch.testing.assert_close(scaled, tuple(1000 * each for each in first))


def test_every_law_with_parameters_has_a_start_or_is_known_to_have_none() -> None:
    without = {name for name, entry in distributions().items() if entry.start is None and not entry.structured and entry.params}
    assert without == {"HardKumaraswamy", "LKJCholesky", "LogitNormal", "ShiftedLogNormal"}
