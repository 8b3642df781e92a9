"""The bound of a model with continuous latents at the very draw that the emitted module made: its noise is recorded while it
runs, and brute force puts the same numbers through the guide.

    log Σ_u p(x, u | z) + Σ_z log p(z) - log q(z)        or, for any z, -KL(q ‖ p) in place of its last two terms"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch import distributions as dist
from torch.utils._python_dispatch import TorchDispatchMode

from vispec.model import model as m
from vispec.model.model import Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.verify.checks import GRADIENT, VALUE, distance, gradient_gap
from vispec.verify.densities import chosen, log_density, torch_family
from vispec.verify.expressions import Scene
from vispec.verify.oracle import enumerate_log_prob
from vispec.verify.report import Check
from vispec.verify.row import Cell, NotCheckedError, Row, place_of, shape_of, without_data
from vispec.verify.trial import Trial, continuous_latents

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


def check_at_draw(trial: Trial) -> tuple[Check, Check]:
    """Values and gradients of the bound, exactly, for draws of Normal guides."""
    latents = guided(trial)
    with Recorder() as recorder:
        got = trial.built.module.log_prob(trial.batch)
    noise = match(trial, latents, recorder.noise)
    gaps = []
    for analytic in product((False, True), repeat=len(latents)):
        try:
            expected = torch.stack([_row(trial, index, latents, noise, analytic) for index in range(trial.count)])
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


def guided(trial: Trial) -> list[tuple[Variable, m.Draw]]:
    """The continuous latents with their guides; all must be Normal, and no finite unknown may have a guide."""
    model = trial.built.model
    if not trial.built.module.estimator.startswith("elbo"):
        raise NotCheckedError(f"estimator {trial.built.module.estimator}")
    laws = {entry.name: entry.law for entry in model.guide}
    for name in laws:
        if model.variable[name].type.domain in FINITE_DOMAINS:
            raise NotCheckedError(f"a draw under the guide of `{name}`, which is finite")
    found = []
    for variable in continuous_latents(trial.built):
        law = laws.get(variable.name)
        if not isinstance(law, m.Draw) or law.distribution != "Normal":
            raise NotCheckedError(f"the draw of `{variable.name}`, whose guide is not Normal")
        found.append((variable, law))
    return found


def match(trial: Trial, latents: Sequence[tuple[Variable, m.Draw]], noise: list[Tensor]) -> dict[str, Tensor]:
    """The noise of each latent, (samples, B, *plates, *event), recognised by its shape alone."""
    left = list(noise)
    matched = {}
    for variable, _ in latents:
        rank = 1 + len(without_data(trial.built.model, variable.plates)) + len(variable.type.shape)
        event = shape_of(variable.type, trial.built.sizes)
        fits = [n for n in left if n.ndim in (rank, rank + 1) and n.shape[n.ndim - len(event) :] == event]
        fits = [n for n in fits if n.shape[n.ndim - rank] == trial.count]
        if len(fits) != 1:
            raise NotCheckedError(f"{len(fits)} draws of noise look like that of `{variable.name}`")
        matched[variable.name] = fits[0] if fits[0].ndim > rank else fits[0].unsqueeze(0)
        left = [n for n in left if n is not fits[0]]
    return matched


def _row(
    trial: Trial,
    index: int,
    latents: Sequence[tuple[Variable, m.Draw]],
    noise: Mapping[str, Tensor],
    analytic: Sequence[bool],
) -> Tensor:
    """The bound of one row: the mean over samples; `analytic` says per latent which form its divergence has."""
    samples = {len(n) for n in noise.values()}
    if len(samples) != 1:
        raise NotCheckedError("latents with different numbers of samples")
    forms = {variable.name: form for (variable, _), form in zip(latents, analytic, strict=True)}
    values = [_sample(trial, index, latents, {k: n[s][index] for k, n in noise.items()}, forms) for s in range(*samples)]
    return torch.stack(values).mean()


def _sample(
    trial: Trial,
    index: int,
    latents: Sequence[tuple[Variable, m.Draw]],
    noise: Mapping[str, Tensor],
    forms: Mapping[str, bool],
) -> Tensor:
    row = trial.rows[index]
    scene = Scene(trial.built.model, trial.built.module, row)
    values: dict[Cell, Tensor] = {}
    guides: list[tuple[Variable, Cell, m.Draw]] = []
    for variable, guide in latents:
        for cell in row.cells(variable):
            scene.assignment = values
            values[cell] = _put_through(scene, variable, guide, cell, noise[variable.name][cell[1]])
            guides.append((variable, cell, guide))
    scene.assignment = values
    total = enumerate_log_prob(trial.built.model, trial.built.module, row, values).log_prob
    for variable, cell, guide in guides:
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
