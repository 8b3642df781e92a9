"""Random models with an observed number hidden: what is predicted of one cell, against log_prob with the cell filled in."""

from dataclasses import replace
from random import Random

import pytest
import torch
from torch import Tensor, nn

from tests.random.brute.data import random_batch
from tests.random.compare import loaded
from tests.random.grammar import random_spec
from vispec.compile import compile_model
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.model.model import Model, Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.store.changed import hidden

CELLS = 60


def drawn(seed: int) -> tuple[nn.Module, dict[str, Tensor], Variable, tuple[int, ...]] | None:
    """A module, a batch, and the variable with its one missing cell; None where there is no such number."""
    spec = random_spec(seed, 3, plain=seed % 2 == 0)
    try:
        tree = parse(Source("drawn.vispec", spec.text))
        model = check_model(tree, spec.sizes)
        if not (names := [v.name for v in model.variables if is_number(v, model)]):
            return None
        name = Random(seed).choice(names)
        model = check_model(replace(tree, body=tuple(hidden(each, {name}) for each in tree.body)), spec.sizes)
        module = loaded(compile_model(model, spec.sizes))
    except SpecError:
        return None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator))
    sizes = {size.name: int(size.value) for size in model.sizes if size.value is not None} | dict(spec.sizes)
    batch = random_batch(model, sizes, 2, Random(seed), 2)
    observed = batch[f"{name}_observed"]
    cell = (0,) * observed.dim()
    observed[:] = True
    observed[cell] = False
    return module, batch, model.variable[name], cell


def is_number(variable: Variable, model: Model) -> bool:
    rows = any(model.plate[plate].data for plate in variable.plates)
    return variable.role == "observed" and variable.type.domain not in FINITE_DOMAINS and rows


def densities(module: nn.Module, batch: dict[str, Tensor], name: str, cell: tuple[int, ...], at: Tensor) -> Tensor:
    found, filled = list[Tensor](), {each: value.clone() for each, value in batch.items()}
    filled[f"{name}_observed"][cell] = True
    for value in at:
        filled[name][cell] = value
        found.append(module.log_prob(filled)[0].detach())  # pyright: ignore[reportCallIssue]
    return (torch.stack(found) - module.log_prob(batch)[0].detach()).exp()  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("seed", range(CELLS))
def test_a_hidden_number_is_predicted_as_its_density_says(seed: int) -> None:
    """Of counts by sums; of other numbers the mass between two quantiles."""
    if (found := drawn(seed)) is None:
        return
    module, batch, variable, cell = found
    told = lambda rule: module.predict(batch, rule=rule)[variable.name][cell]  # noqa: E731  # pyright: ignore[reportCallIssue]
    told("mean")
    told("sample")
    if variable.type.shape or not module.exact or not bool(module.log_prob(batch)[0].isfinite()):  # pyright: ignore[reportCallIssue]
        return
    if variable.type.domain == "count":
        at = torch.arange(60.0, dtype=torch.float64)
        p = densities(module, batch, variable.name, cell, at)
        if abs(float(p.sum()) - 1) < 1e-9:  # all counts that matter
            torch.testing.assert_close(told("mean"), (p * at).sum(), rtol=1e-6, atol=1e-6)
            assert told("median") == (p.cumsum(0) < 0.5).sum()
        return
    low, high = told("quantiles(.4, .6)")
    at = torch.linspace(float(low), float(high), 201, dtype=torch.float64)
    assert abs(float(torch.trapezoid(densities(module, batch, variable.name, cell, at), at)) - 0.2) < 1e-3
