"""The evidence lower bound of one row without its noise, against the mean of many draws of the emitted module.

    Σ_d q(d) { E_{z ~ q(z | d)} [ log Σ_u p(x, d, z, u) - log q(z | d) ] - log q(d) }

d: finite latents and missing cells with a guide; z: continuous latents, all guided; u: finite unknowns without one, summed out.
A latent that is asked to be drawn from its own law has that law for a guide.
The expectation over z is a Gauss–Hermite rule where the guides are Normal and z has few numbers, else an average of draws."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Generator, Tensor
from torch import distributions as dist

from vispec.estimators import estimators
from vispec.model import model as m
from vispec.model.model import Model
from vispec.seeds import reseed
from vispec.verify.bounds.asked import asked
from vispec.verify.bounds.draws import DEVIATIONS
from vispec.verify.bounds.shared import draw_from
from vispec.verify.checks import worst
from vispec.verify.data import take
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.densities import chosen, log_density, torch_family
from vispec.verify.oracle.expressions import Scene
from vispec.verify.oracle.flow import carried
from vispec.verify.oracle.oracle import enumerate_log_prob
from vispec.verify.oracle.reads import draws_of, reading_order
from vispec.verify.oracle.row import ENUMERABLE, Cell, Row, as_tensor, in_data, place_of, shape_of
from vispec.verify.oracle.weights import drawn_weights, random_layers
from vispec.verify.report import Check
from vispec.verify.trial import Trial, continuous_latents

NODES = 20  # of the quadrature, per dimension
MOST_NODES = 1000  # in all, for which a quadrature is affordable
DRAWS = 60  # of our own, where it is not
WEIGHTS = 1000  # of our own of the weights of nets
AGAIN = 10  # times as many draws to confirm a difference by
REPEATS = 4000  # of each row in the module's batch
QUADRATURE = 2e-3  # error of the rule itself, for networks with kinks


@dataclass(frozen=True)
class Estimate:
    mean: float
    error: float  # standard error


def check_bound(trial: Trial, generator: Generator, rows: int = 2) -> Check:
    """The error is in units of the allowed difference: 1 is the largest that chance explains."""
    estimator = trial.built.module.estimator
    if not averages(estimator):
        raise NotCheckedError(f"estimator {estimator}")

    def measure(index: int, times: int) -> float:
        expected = bound(trial, trial.rows[index], generator, times)
        return gap(module_mean(trial, index, times), expected, QUADRATURE)

    gaps = [confirmed(partial(measure, index)) for index in range(min(rows, trial.count))]
    return Check("bound, mean over draws", len(gaps), worst(gaps), 1.0)


def gap(got: Estimate, expected: Estimate, slack: float = 0.0) -> float:
    """How far two estimates are apart, in units of the allowed difference; slack: of the size of what is expected."""
    if math.isinf(got.mean) or math.isinf(expected.mean):  # of an impossible row
        return 0.0 if got.mean == expected.mean else math.inf
    allowed = DEVIATIONS * math.hypot(got.error, expected.error) + slack * max(1.0, abs(expected.mean))
    return abs(got.mean - expected.mean) / allowed


def confirmed(measure: Callable[[int], float]) -> float:
    """A gap; one beyond chance is measured again by so many times as many draws, as the mean of few draws of a law with long
    tails lies beyond its standard error too often. What is wrong stays wrong."""
    found = measure(1)
    return found if found <= 1 else measure(AGAIN)


def averages(estimator: str) -> bool:
    """Whether these estimators are of this very bound: the mean log-weight of draws from guides."""
    found = asked(estimator)
    drawn = bool(found) and found[0].kind.draws and not found[0].kind.weighed
    return drawn and all(each.bound == "elbo" for each in found)


def module_mean(trial: Trial, index: int, times: int) -> Estimate:
    """The emitted bound of one row, averaged over draws."""
    with torch.no_grad():
        repeated = take(trial.built.model, trial.batch, torch.full((REPEATS,), index))
        return estimate(torch.cat([trial.emitted(repeated) for _ in range(times)]))


def estimate(values: Tensor) -> Estimate:
    """The mean of draws, with its standard error."""
    return Estimate(float(values.mean()), float(values.std() / math.sqrt(len(values))))


@torch.no_grad()
def bound(trial: Trial, row: Row, generator: Generator, times: int = 1) -> Estimate:
    """The bound of one row, with the standard error that is left where it had to be averaged over `times` as many draws as is
    usual."""
    model, samples = trial.built.model, trial.shared.samples
    scene = Scene(model, trial.built.module, row)
    cells = guided_cells(model, row)
    numbers = sum(math.prod(shape_of(model.variable[c[0]].type, row.sizes)) for c, _ in cells if not _finite(model, c))
    laws = [law for cell, law in cells if not _finite(model, cell)]
    normal = all(d.distribution == "Normal" for law in laws for d in draws_of(law)) and not any(
        isinstance(law, m.Flow) for law in laws
    )
    branches = math.prod(_outcomes_of(scene, cell) for cell, _ in cells)
    if normal and branches * NODES**numbers <= MOST_NODES and not random_layers(trial.built):
        return Estimate(sum(_expectation(scene, cells, dict(known), 0.0) for known in samples) / len(samples), 0.0)
    with torch.random.fork_rng():
        reseed(int(torch.randint(2**31, (), generator=generator)))
        return estimate(torch.tensor([one_draw(trial, row, samples[i % len(samples)]) for i in range(times * draws(trial))]))


def _outcomes_of(scene: Scene, cell: Cell) -> int:
    """How many values a finite cell has; 1 for others."""
    variable = scene.model.variable[cell[0]]
    return len(scene.row.support_of(variable, place_of(scene.model, variable, cell))) if _finite(scene.model, cell) else 1


def draws(trial: Trial) -> int:
    """How many draws of our own, the same number of each sample of what rows share."""
    few = DRAWS if continuous_latents(trial.built) or not random_layers(trial.built) else WEIGHTS
    samples = len(trial.shared.samples)
    return -(-few // samples) * samples


def one_draw(trial: Trial, row: Row, known: Mapping[Cell, Tensor]) -> float:
    """The bound of one row at one draw of its continuous latents and of weights."""
    scene = Scene(trial.built.model, trial.built.module, row)
    with drawn_weights(trial.built):
        return _expectation(scene, guided_cells(trial.built.model, row), dict(known), 0.0, draw=True)


def guided_cells(model: Model, row: Row) -> list[tuple[Cell, m.Law]]:
    """Unknown cells with their guide's law, each after the guided variables that its law reads. Every continuous latent must be
    among them."""
    laws = guiding_laws(model)
    for variable in model.variables:
        own = variable.role == "latent" and in_data(model, variable.plates)
        if own and variable.name not in laws and variable.type.domain not in ENUMERABLE:
            raise NotCheckedError(f"`{variable.name}` has no guide of its own")
    return [
        (cell, laws[name])
        for name in reading_order(model, laws)
        for cell in row.cells(model.variable[name])
        if cell not in row.values
    ]


def guiding_laws(model: Model) -> dict[str, m.Law]:
    """What each latent of a row is drawn from: its guide, or, where it is to be drawn and has none, its own law."""
    found = {entry.name: entry.law for entry in model.guide if in_data(model, model.variable[entry.name].plates)}
    for infer in model.infer:
        variable = model.variable.get(infer.name)
        kind = estimators()[infer.estimator.name]
        drawn = kind.draws and not kind.guide and kind.variables == "any" and infer.name not in found
        if not drawn or variable is None or not in_data(model, variable.plates):
            continue
        if variable.role == "latent" and variable.law is not None:
            found[infer.name] = variable.law
    return found


def drawn_variables(model: Model) -> list[m.Variable]:
    """What of a row is drawn."""
    return [model.variable[name] for name in guiding_laws(model)]


def _finite(model: Model, cell: Cell) -> bool:
    return model.variable[cell[0]].type.domain in ENUMERABLE


def _expectation(
    scene: Scene, cells: list[tuple[Cell, m.Law]], known: dict[Cell, Tensor], log_q: float, draw: bool = False
) -> float:
    """The bound given values for the cells before these, whose guide density is log_q."""
    if not cells:
        return float(enumerate_log_prob(scene.model, scene.module, scene.row, known).log_prob) - log_q
    (cell, law), *rest = cells
    total = 0.0
    for weight, value, density in _outcomes(scene, cell, law, known, draw):
        if weight > 0:
            total += weight * _expectation(scene, rest, {**known, cell: value}, log_q + density, draw)
    return total


def _outcomes(scene: Scene, cell: Cell, law: m.Law, known: dict[Cell, Tensor], draw: bool) -> list[tuple[float, Tensor, float]]:
    """(weight, value, log q) of what one guided cell may be: every value, the nodes of a quadrature, or one draw."""
    variable = scene.model.variable[cell[0]]
    at = place_of(scene.model, variable, cell)

    def density(value: Tensor) -> float:
        scene.assignment = {**known, cell: value}
        return float(log_density(variable, law, at, scene))

    scene.assignment = known
    if _finite(scene.model, cell):
        values = [as_tensor(v, variable.type, scene.row.sizes) for v in scene.row.support_of(variable, at)]
        return [(math.exp(density(value)), value, density(value)) for value in values]
    if isinstance(law, m.Flow):
        with torch.enable_grad():
            value, log_q = carried(law, draw_from(variable, law.base, at, scene, scene.row), at, scene)
        return [(1.0, value.detach(), float(log_q))]
    law = chosen(variable, law, at, scene)
    if draw:
        value = draw_from(variable, law, at, scene, scene.row)
        return [(1.0, value, density(value))]
    shape = shape_of(variable.type, scene.row.sizes)
    family = torch_family(law, at, scene, shape)
    if not isinstance(family, dist.Normal):
        raise NotCheckedError(f"a quadrature for {law.distribution}")
    return [(weight, value, density(value)) for weight, value in _gauss_hermite(family, shape)]


def _gauss_hermite(family: dist.Normal, shape: tuple[int, ...]) -> list[tuple[float, Tensor]]:
    """Weights and values of a product rule for a Normal event of this shape."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    rule = []
    for choice in product(range(NODES), repeat=math.prod(shape)):
        noise = torch.tensor([nodes[i] for i in choice], dtype=torch.float64).reshape(shape)
        rule.append((float(np.prod([weights[i] for i in choice])), family.loc + family.scale * noise))
    return rule
