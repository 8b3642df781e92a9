"""Random models with observed cells hidden, numbers and labels in any position: what is predicted of one cell, against log_prob
with the cell filled in, since exp(log p(cell, seen) - log p(seen)) is the predictive density, whatever else is missing."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import numpy as np
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
from vispec.model.walk import draws
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.store.changed import hidden

CELLS = 40
LEVELS = (0.4, 0.6)
PARTS = (1e-9, 1e-6, 1e-3, 0.1, 0.4, 0.5, 0.6, 0.9, 1 - 1e-3, 1 - 1e-6, 1 - 1e-9)
HEAVY = {"StudentT", "Cauchy", "HalfCauchy", "Pareto", "InverseGamma", "LogNormal", "ShiftedLogNormal", "Weibull"}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
CLOSE = {"rtol": 1e-8, "atol": 1e-8}


@dataclass(frozen=True)
class Hidden:
    """A module, a batch, and one missing cell of its first row."""

    model: Model
    module: nn.Module
    batch: dict[str, Tensor]
    variable: Variable
    cell: tuple[int, ...]

    def told(self, rule: str) -> Tensor:
        return self.module.predict(self.batch, rule=rule)[self.variable.name][self.cell]  # pyright: ignore[reportCallIssue]

    def density(self, at: Tensor) -> Tensor:
        """Of values (N,) of the cell, given what is seen of its row."""
        rows = {name: self.repeated(name, value, len(at)) for name, value in self.batch.items()}
        rows[f"{self.variable.name}_observed"][:, *self.cell[1:]] = True
        rows[self.variable.name][:, *self.cell[1:]] = at.to(rows[self.variable.name].dtype)
        seen = self.module.log_prob(self.batch)[0]  # pyright: ignore[reportCallIssue]
        return (self.module.log_prob(rows) - seen).exp().detach()  # pyright: ignore[reportCallIssue]

    def repeated(self, name: str, value: Tensor, count: int) -> Tensor:
        """The first row so many times; what stands outside the data plate as it is."""
        variable = self.model.variable.get(name)
        if variable is not None and not any(self.model.plate[plate].data for plate in variable.plates):
            return value
        return value[:1].repeat(count, *[1] * (value.dim() - 1))


def drawn(seed: int) -> Hidden | None:
    """None where the random model has no such cell, or cannot be."""
    rng = Random(seed)
    spec = random_spec(seed, 3, plain=seed % 2 == 0)
    try:
        tree = parse(Source("drawn.vispec", spec.text))
        model = check_model(tree, spec.sizes)
        names = [v.name for v in model.variables if v.role == "observed" and any(model.plate[p].data for p in v.plates)]
        if not names:
            return None
        name = rng.choice(names)
        model = check_model(replace(tree, body=tuple(hidden(each, {name}) for each in tree.body)), spec.sizes)
        module = loaded(compile_model(model, spec.sizes))
    except SpecError:
        return None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator))
    sizes = {size.name: int(size.value) for size in model.sizes if size.value is not None} | dict(spec.sizes)
    batch = random_batch(model, sizes, 2, rng, 2)
    inside = [
        place for place in torch.cartesian_prod(*map(torch.arange, (1, *batch[f"{name}_observed"].shape[1:])), torch.arange(1))
    ]
    cells = [
        tuple(place[:-1].tolist()) for place in inside if is_there(model, model.variable[name], batch, place[:-1].tolist())
    ]
    cell = rng.choice(cells)
    batch[f"{name}_observed"][cell] = False
    return Hidden(model, module, batch, model.variable[name], cell)


def is_there(model: Model, variable: Variable, batch: dict[str, Tensor], cell: list[int]) -> bool:
    """Whether a position is none of padding."""
    plates = [plate for plate in variable.plates if not model.plate[plate].data]
    at = dict(zip(plates, cell[1:], strict=True))
    for name in plates:
        plate = model.plate[name]
        if plate.ragged:
            outer = [at[p] for p in plate.inside if not model.plate[p].data]
            if at[name] >= int(batch[plate.length_key][(0, *outer)]):
                return False
    return True


def integral(f: Callable[[Tensor], Tensor], low: float, high: float, depth: int = 0) -> float:
    """By Gauss-Legendre nodes, halved until halves agree."""
    middle = (low + high) / 2
    parts = [(low, high), (low, middle), (middle, high)]
    at = np.concatenate([a + (b - a) / 2 * (NODES + 1) for a, b in parts])
    values = f(torch.tensor(at, dtype=torch.float64)).numpy().reshape(3, -1) @ WEIGHTS
    whole, *halves = (value * (b - a) / 2 for value, (a, b) in zip(values, parts, strict=True))
    assert np.isfinite(whole)
    if depth == 20 or abs(whole - sum(halves)) < 1e-12 + 1e-11 * abs(whole):
        return float(sum(halves))
    return integral(f, low, middle, depth + 1) + integral(f, middle, high, depth + 1)


@pytest.mark.parametrize("seed", range(CELLS))
def test_a_hidden_cell_is_predicted_as_its_density_says(seed: int) -> None:
    """Of labels and counts by sums, of other numbers by quadrature."""
    if (found := drawn(seed)) is None:
        return
    try:
        found.told("mean")
    except ValueError as error:
        assert "would take more" in str(error)  # noqa: PT017
        return
    found.told("sample")
    exact = found.module.exact and bool(found.module.log_prob(found.batch)[0].isfinite())  # pyright: ignore[reportCallIssue]
    if not exact or found.variable.type.shape:
        return
    domain = found.variable.type.domain
    (of_label if domain in FINITE_DOMAINS else of_count if domain == "count" else of_number)(found)


def of_label(found: Hidden) -> None:
    told = found.told("probs")
    if told.dim() != 1:  # a head's are two
        return
    p = found.density(torch.arange(len(told)))
    torch.testing.assert_close(told, p, **CLOSE)
    best = p.topk(2).values
    assert found.told("mode") == p.argmax() or best[0] - best[1] < 1e-12


def of_count(found: Hidden) -> None:
    at = torch.arange(150.0, dtype=torch.float64)
    p = found.density(at)
    if abs(float(p.sum()) - 1) > 1e-10:  # of counts that are larger
        return
    torch.testing.assert_close(found.told("mean"), (p * at).sum(), **CLOSE)
    told = found.told("probs")
    torch.testing.assert_close(told[: len(p)], p[: len(told)], **CLOSE)
    assert p[int(found.told("mode"))] >= p.max() - 1e-12
    for level in LEVELS:
        assert found.told(f"quantiles({level})") == (p.cumsum(0) < level).sum()


def of_number(found: Hidden) -> None:
    """Where a density may have no bound at an end, along its logarithm or log-odds."""
    domain = found.variable.type.domain
    there: Callable[[Tensor], Tensor] = {"positive": torch.log, "unit": torch.logit}.get(domain, lambda at: at)
    back: Callable[[Tensor], Tensor] = {"positive": torch.exp, "unit": torch.sigmoid}.get(domain, lambda at: at)
    slope: Callable[[Tensor], Tensor] = {"positive": lambda at: at, "unit": lambda at: at * (1 - at)}.get(
        domain, torch.ones_like
    )

    def mass(low: Tensor, high: Tensor, of: Callable[[Tensor], Tensor] = torch.ones_like) -> float:
        return integral(lambda t: of(back(t)) * found.density(back(t)) * slope(back(t)), float(there(low)), float(there(high)))

    at = found.told(f"quantiles({', '.join(f'{level:.9f}' for level in PARTS)})")
    for (low, high), (below, level) in zip(pairwise(at), pairwise(PARTS), strict=True):
        assert mass(low, high) == pytest.approx(level - below, abs=1e-8)
    first, low, high, last = at[[0, 4, 6, -1]]
    grid = found.density(torch.lerp(low, high, torch.linspace(0, 1, 300, dtype=torch.float64))).max()
    assert found.density(found.told("mode")[None]) >= grid * (1 - 1e-8)
    laws = {draw.distribution for draw in draws(found.variable.law)} if found.variable.law is not None else set()
    if not laws & HEAVY:
        assert float(found.told("mean")) == pytest.approx(
            sum(mass(*ends, lambda x: x) for ends in pairwise(at)), abs=1e-6 + 1e-7 * float(last - first)
        )
