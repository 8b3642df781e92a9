"""The bound of a model with continuous latents at the very draw that the emitted module made: its noise is recorded while it
runs, and brute force puts the same numbers through the guide.

    log Σ_u p(x, u | z) + Σ_z log p(z) - log q(z)        or, for any z, -KL(q ‖ p) in place of its last two terms"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch import distributions as dist
from torch.utils._python_dispatch import TorchDispatchMode

from vispec.model import model as m
from vispec.model.model import Variable
from vispec.verify.checks import GRADIENT, VALUE, distance, gradient_gap
from vispec.verify.data import take
from vispec.verify.densities import chosen, log_density, torch_family
from vispec.verify.errors import NotCheckedError
from vispec.verify.expressions import Scene
from vispec.verify.oracle import enumerate_log_prob
from vispec.verify.report import Check
from vispec.verify.row import Cell, Row, as_tensor, place_of, shape_of, without_data
from vispec.verify.trial import Trial, continuous_latents

COPIES = 400
DEVIATIONS = 5.0  # standard errors that chance is allowed
NORMAL_NOISE = ("randn_like", "randn", "normal_", "normal", "normal_functional")


class Recorder(TorchDispatchMode):
    """Keeps a copy of the result of every operation that draws from a Normal."""

    def __init__(self) -> None:
        super().__init__()
        self.noise: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in NORMAL_NOISE:
            self.noise.append(result.detach().clone())
        return result


@dataclass(frozen=True)
class Noise:
    """values: (samples, B, *plates, *branch, *event). branch: the finite unknown with a guide has an axis of its own, this many
    dimensions before the last; None where there is none, and all its values share the noise."""

    values: Tensor
    branch: int | None

    def at(self, value: int) -> Tensor:
        """The noise where the finite unknown has this value."""
        return self.values if self.branch is None else self.values.select(-1 - self.branch, value)


@dataclass(frozen=True)
class Guided:
    """The guided unknowns of a model: continuous latents with Normal guides, and at most one finite unknown, one per row."""

    latents: tuple[tuple[Variable, m.Draw], ...]
    finite: tuple[Variable, m.Law] | None


def check_at_draw(trial: Trial) -> tuple[Check, Check]:
    """Values and gradients of the bound, exactly, for draws of Normal guides."""
    guided = guided_unknowns(trial)
    with Recorder() as recorder:
        got = trial.built.module.log_prob(trial.batch)
    noise = match(trial, guided, recorder.noise)
    gaps = []
    for analytic in product((False, True), repeat=len(guided.latents)):
        forms = {variable.name: form for (variable, _), form in zip(guided.latents, analytic, strict=True)}
        try:
            expected = torch.stack([_row(trial, index, guided, noise, forms) for index in range(trial.count)])
        except NotImplementedError:  # no closed form for this pair of families
            continue
        gaps.append((distance(got, expected), expected))
    error, expected = min(gaps, key=lambda pair: pair[0])
    gradient = gradient_gap(trial.gradients(got), trial.gradients(expected))
    numbers = sum(parameter.numel() for parameter in trial.built.module.parameters())
    return (
        Check("bound at its own draw", trial.count, error, VALUE),
        Check("gradient at its own draw", numbers, gradient, GRADIENT),
    )


@torch.no_grad()
def check_noise(trial: Trial) -> Check:
    """Mean and variance of the noise over many copies of a row, in units of 5 standard errors of either."""
    with Recorder() as recorder:
        trial.built.module.log_prob(take(trial.built.model, trial.batch, torch.zeros(COPIES, dtype=torch.int64)))
    noise = torch.cat([n.flatten() for n in recorder.noise])
    mean, variance = float(noise.mean()), float(noise.square().mean())
    allowed = DEVIATIONS / math.sqrt(len(noise))
    return Check("noise is standard normal", len(noise), max(abs(mean), abs(variance - 1) / math.sqrt(2)) / allowed, 1.0)


def guided_unknowns(trial: Trial) -> Guided:
    """What the guide covers; NotCheckedError where that is more than can be compared."""
    model = trial.built.model
    if not trial.built.module.estimator.startswith("elbo"):
        raise NotCheckedError(f"estimator {trial.built.module.estimator}")
    laws = {entry.name: entry.law for entry in model.guide}
    latents = []
    for variable in continuous_latents(trial.built):
        law = laws.pop(variable.name, None)
        if not isinstance(law, m.Draw) or law.distribution != "Normal":
            raise NotCheckedError(f"the draw of `{variable.name}`, whose guide is not Normal")
        latents.append((variable, law))
    rest = [(model.variable[name], law) for name, law in laws.items()]
    plates = [plate for variable, _ in (*rest, *latents) for plate in without_data(model, variable.plates)] if rest else []
    if len(rest) > 1 or plates:
        raise NotCheckedError(f"draws under the guide of `{rest[0][0].name}`, which is finite")
    return Guided(tuple(latents), rest[0] if rest else None)


def match(trial: Trial, guided: Guided, noise: list[Tensor]) -> dict[str, Noise]:
    """The noise of each latent, recognised by its shape alone."""
    left = list(noise)
    matched = {}
    branches = [(), (trial.rows[0].card(guided.finite[0].type, {}),)] if guided.finite else [()]
    for variable, _ in guided.latents:
        plates = len(without_data(trial.built.model, variable.plates))
        event = shape_of(variable.type, trial.built.sizes)
        found = [(n, branch) for n in left for branch in branches if _fits(n, trial.count, plates, (*branch, *event))]
        if len(found) != 1:
            raise NotCheckedError(f"{len(found)} draws of noise look like that of `{variable.name}`")
        ((values, branch),) = found
        rank = 1 + plates + len(branch) + len(event)
        matched[variable.name] = Noise(values if values.ndim > rank else values.unsqueeze(0), len(event) if branch else None)
        left = [n for n in left if n is not values]
    return matched


def _fits(noise: Tensor, rows: int, plates: int, tail: tuple[int, ...]) -> bool:
    lead = noise.ndim - len(tail)
    return lead in (1 + plates, 2 + plates) and noise.shape[lead:] == tail and noise.shape[lead - plates - 1] == rows


def _row(trial: Trial, index: int, guided: Guided, noise: Mapping[str, Noise], forms: Mapping[str, bool]) -> Tensor:
    """The bound of one row: the mean over samples; `forms` says of which latents the divergence is analytic."""
    samples = {len(n.values) for n in noise.values()}
    if len(samples) != 1:
        raise NotCheckedError("latents with different numbers of samples")
    own = [{name: Noise(n.values[s][index], n.branch) for name, n in noise.items()} for s in range(*samples)]
    return torch.stack([_sample(trial, index, guided, one, forms) for one in own]).mean()


def _sample(trial: Trial, index: int, guided: Guided, noise: Mapping[str, Noise], forms: Mapping[str, bool]) -> Tensor:
    """One sample of the bound of one row: the expectation under the guide of the finite unknown, if there is one."""
    row = trial.rows[index]
    scene = Scene(trial.built.model, trial.built.module, row)
    if guided.finite is None:
        return _branch(scene, guided, {}, {name: n.values for name, n in noise.items()}, forms)
    variable, law = guided.finite
    cell = (variable.name, ())
    if cell in row.values:
        value = int(row.values[cell])
        return _branch(scene, guided, {}, {name: n.at(value) for name, n in noise.items()}, forms)
    total = torch.zeros((), dtype=torch.float64)
    for number, support in enumerate(row.support(variable.type, {})):
        scene.assignment = {cell: as_tensor(support, variable.type, row.sizes)}
        log_q = log_density(variable, law, {}, scene)
        branch = _branch(scene, guided, scene.assignment, {name: n.at(number) for name, n in noise.items()}, forms)
        total = total + log_q.exp() * (branch - log_q)
    return total


def _branch(
    scene: Scene, guided: Guided, known: Mapping[Cell, Tensor], noise: Mapping[str, Tensor], forms: Mapping[str, bool]
) -> Tensor:
    """log Σ_u p(x, known, z, u) less the divergence of each latent cell, z being the noise put through the guide."""
    row = scene.row
    values = dict(known)
    drawn: list[tuple[Variable, Cell, m.Draw]] = []
    for variable, guide in guided.latents:
        for cell in row.cells(variable):
            scene.assignment = values
            values[cell] = _put_through(scene, variable, guide, cell, noise[variable.name][cell[1]])
            drawn.append((variable, cell, guide))
    scene.assignment = values
    total = enumerate_log_prob(scene.model, scene.module, row, values).log_prob
    for variable, cell, guide in drawn:
        total = total - _log_ratio(scene, row, variable, cell, guide, forms[variable.name])
    return total


def _put_through(scene: Scene, variable: Variable, guide: m.Draw, cell: Cell, noise: Tensor) -> Tensor:
    """loc + scale · noise."""
    family = torch_family(guide, place_of(scene.model, variable, cell), scene)
    assert isinstance(family, dist.Normal)
    return family.loc + family.scale * noise


def _log_ratio(scene: Scene, row: Row, variable: Variable, cell: Cell, guide: m.Draw, analytic: bool) -> Tensor:
    """What one latent cell takes off the joint: log q(z); or, its prior density replaced, log p(z) + KL(q ‖ p)."""
    at = place_of(scene.model, variable, cell)
    if not analytic:
        return log_density(variable, guide, at, scene)
    assert variable.law is not None
    q, p = torch_family(guide, at, scene), torch_family(chosen(variable, variable.law, at, scene), at, scene)
    shape = shape_of(variable.type, row.sizes)
    divergence = dist.kl_divergence(_expanded(q, shape), _expanded(p, shape)).sum()
    return log_density(variable, variable.law, at, scene) + divergence


def _expanded(family: dist.Distribution, shape: tuple[int, ...]) -> dist.Distribution:
    """The family with the batch shape that its draws have."""
    return family.expand(torch.Size(shape[: len(shape) - len(family.event_shape)]))
