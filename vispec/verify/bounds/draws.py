"""The bound of a model with continuous latents at the very draw that the emitted module made: its noise is recorded while it
runs, and brute force puts the same numbers through the guide.

    log Σ_u p(x, u | z) + Σ_z log p(z) - log q(z)        or, for any z, -KL(q ‖ p) in place of its last two terms

Samples are averaged, for an importance-weighted bound before the logarithm. What rows share is as the module drew it."""

import math
from collections.abc import Iterator, Mapping
from itertools import product

import torch
from torch import Tensor
from torch import distributions as dist

from vispec.model import model as m
from vispec.model.model import Variable
from vispec.verify.bounds.asked import asked
from vispec.verify.bounds.noise import Guided, Noise, matchings
from vispec.verify.bounds.recorder import Recorder
from vispec.verify.checks import GRADIENT, VALUE, distance, gradient_gap
from vispec.verify.data import take
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.densities import chosen, log_density, torch_family
from vispec.verify.oracle.expressions import Scene
from vispec.verify.oracle.flow import carried
from vispec.verify.oracle.oracle import enumerate_log_prob
from vispec.verify.oracle.reads import draws_of, reading_order
from vispec.verify.oracle.row import Cell, Place, Row, as_tensor, in_data, place_of, shape_of, without_data
from vispec.verify.report import Check
from vispec.verify.trial import Trial, continuous_latents

COPIES = 400
DEVIATIONS = 5.0  # standard errors that chance is allowed


def check_at_draw(trial: Trial) -> tuple[Check, Check]:
    """Values and gradients of the bound, exactly, for draws of Normal guides."""
    guided = guided_unknowns(trial)
    _ = trial.shared  # drawn before the noise of the rows is recorded
    with Recorder() as recorder:
        got = trial.emitted(trial.batch)
    found = [(distance(got, expected), expected) for expected in _expected(trial, guided, recorder.noise, got)]
    if not found:
        raise NotCheckedError("draws of noise that look like none of the latents'")
    error, expected = min(found, key=lambda pair: pair[0])
    return Check("bound at its own draw", trial.count, error, VALUE), _check_gradient(trial, got, expected)


def _expected(trial: Trial, guided: Guided, noise: list[Tensor], got: Tensor) -> Iterator[Tensor]:
    """The bound as matchings of the noise and forms of the divergences have it whose first row agrees, up to the one of which
    all do; where there is none, as the nearest has it."""
    nearest, least = None, math.inf
    for matched in matchings(trial, guided, noise):
        for analytic in product((False, True), repeat=len(guided.latents)):
            forms = {variable.name: form for (variable, _), form in zip(guided.latents, analytic, strict=True)}
            try:
                gap = distance(got[:1], _row(trial, 0, guided, matched, forms)[None])
                if gap <= VALUE:
                    yield (expected := _rows(trial, guided, matched, forms))
                    if distance(got, expected) <= VALUE:
                        return
            except (NotImplementedError, NotCheckedError):  # no closed form here
                if not any(analytic):
                    raise
                continue
            if nearest is None or gap < least:
                nearest, least = (matched, forms), gap
    if nearest is not None and least > VALUE:
        yield _rows(trial, guided, *nearest)


def _rows(trial: Trial, guided: Guided, noise: Mapping[str, Noise], forms: Mapping[str, bool]) -> Tensor:
    return torch.stack([_row(trial, index, guided, noise, forms) for index in range(trial.count)])


def _check_gradient(trial: Trial, got: Tensor, expected: Tensor) -> Check:
    """Of every parameter, from the rows that are possible: elsewhere the divergence of a guide may have a gradient or none.
    Some estimators have another gradient than their bound, equal to it in the mean."""
    other = [word for word in ("stl", "dreg") if f"gradient={word}" in trial.built.module.estimator]
    if other:
        return Check("gradient at its own draw", skipped=f"{other[0]} leaves out what is 0 in the mean")
    possible = expected > -torch.inf
    gradient = gradient_gap(trial.gradients(got, possible), trial.gradients(expected, possible))
    numbers = sum(parameter.numel() for parameter in trial.built.module.parameters())
    return Check("gradient at its own draw", numbers, gradient, GRADIENT)


@torch.no_grad()
def check_noise(trial: Trial) -> Check:
    """Mean and variance of the noise over many copies of a row, in units of 5 standard errors of either."""
    with Recorder() as recorder:
        trial.emitted(take(trial.built.model, trial.batch, torch.zeros(COPIES, dtype=torch.int64)))
    noise = torch.cat([n.flatten() for n in recorder.noise])
    mean, variance = float(noise.mean()), float(noise.square().mean())
    allowed = DEVIATIONS / math.sqrt(len(noise))
    return Check("noise is standard normal", len(noise), max(abs(mean), abs(variance - 1) / math.sqrt(2)) / allowed, 1.0)


def guided_unknowns(trial: Trial) -> Guided:
    """What the guide covers; NotCheckedError where that is more than can be compared."""
    model = trial.built.model
    if not any(each.kind.of_guide for each in asked(trial.built.module.estimator)[:1]):
        raise NotCheckedError(f"estimator {trial.built.module.estimator}")
    laws = {entry.name: entry.law for entry in model.guide if in_data(model, model.variable[entry.name].plates)}
    continuous = {variable.name for variable in continuous_latents(trial.built)}
    for name in sorted(continuous):
        if name not in laws or not _of_normal_noise(laws[name]):
            raise NotCheckedError(f"the draw of `{name}`, whose guide is not Normal")
    latents = [(model.variable[name], laws.pop(name)) for name in reading_order(model, laws) if name in continuous]
    rest = [(model.variable[name], law) for name, law in laws.items()]
    plates = [plate for variable, _ in (*rest, *latents) for plate in without_data(model, variable.plates)] if rest else []
    if len(rest) > 1 or plates:
        raise NotCheckedError(f"draws under the guide of `{rest[0][0].name}`, which is finite")
    return Guided(tuple(latents), rest[0] if rest else None)


def _of_normal_noise(law: m.Law) -> bool:
    """Whether draws are Normal noise put through a map: Normal laws, and flows, whose base is one."""
    return isinstance(law, m.Flow) or {draw.distribution for draw in draws_of(law)} == {"Normal"}


def _row(trial: Trial, index: int, guided: Guided, noise: Mapping[str, Noise], forms: Mapping[str, bool]) -> Tensor:
    """The bound of one row: the mean over samples; `forms` says of which latents the divergence is analytic."""
    samples = {len(n.values) for n in noise.values()}
    known = trial.shared.samples
    if len(samples) != 1 or len(known) not in (1, *samples):
        raise NotCheckedError("latents with different numbers of samples")
    (count,) = samples
    own = [{name: Noise(n.values[s][index], n.branch) for name, n in noise.items()} for s in range(count)]
    drawn = known if len(known) == count else known * count
    found = torch.stack([_sample(trial, index, guided, *one, forms) for one in zip(own, drawn, strict=True)])
    if asked(trial.built.module.estimator)[0].bound == "iwae":
        return found.logsumexp(0) - math.log(count)
    return found.mean()


def _sample(
    trial: Trial,
    index: int,
    guided: Guided,
    noise: Mapping[str, Noise],
    shared: Mapping[Cell, Tensor],
    forms: Mapping[str, bool],
) -> Tensor:
    """One sample of the bound of one row: the expectation under the guide of the finite unknown, if there is one."""
    row = trial.rows[index]
    scene = Scene(trial.built.model, trial.built.module, row)
    if guided.finite is None:
        return _branch(scene, guided, shared, {name: n.values for name, n in noise.items()}, forms)
    variable, law = guided.finite
    cell = (variable.name, ())
    if cell in row.values:
        value = int(row.values[cell])
        return _branch(scene, guided, shared, {name: n.at(value) for name, n in noise.items()}, forms)
    total = torch.zeros((), dtype=torch.float64)
    for number, support in enumerate(row.support(variable.type, {})):
        scene.assignment = {**shared, cell: as_tensor(support, variable.type, row.sizes)}
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
    drawn: list[tuple[Variable, Cell, m.Law, Tensor]] = []
    for variable, guide in guided.latents:
        for cell in row.cells(variable):
            scene.assignment = values
            own = noise[variable.name][cell[1]]
            values[cell] = _put_through(scene, variable, guide, cell, own)
            drawn.append((variable, cell, guide, own))
    scene.assignment = values
    total = enumerate_log_prob(scene.model, scene.module, row, values).log_prob
    for variable, cell, guide, own in drawn:
        if isinstance(guide, m.Flow):
            total = total - _flow(scene, variable, guide, cell, own)[1]
        else:
            total = total - _log_ratio(scene, row, variable, cell, guide, forms[variable.name])
    return total


def _put_through(scene: Scene, variable: Variable, guide: m.Law, cell: Cell, noise: Tensor) -> Tensor:
    """loc + scale · noise, and where the guide is a flow what becomes of it."""
    if isinstance(guide, m.Flow):
        return _flow(scene, variable, guide, cell, noise)[0]
    at = place_of(scene.model, variable, cell)
    return _affine(chosen(variable, guide, at, scene), at, scene, noise)


def _flow(scene: Scene, variable: Variable, guide: m.Flow, cell: Cell, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The value and log q of it."""
    at = place_of(scene.model, variable, cell)
    return carried(guide, _affine(guide.base, at, scene, noise), at, scene)


def _affine(law: m.Draw, at: Place, scene: Scene, noise: Tensor) -> Tensor:
    family = torch_family(law, at, scene)
    assert isinstance(family, dist.Normal)
    return family.loc + family.scale * noise


def _log_ratio(scene: Scene, row: Row, variable: Variable, cell: Cell, guide: m.Law, analytic: bool) -> Tensor:
    """What one latent cell takes off the joint: log q(z); or, its prior density replaced, log p(z) + KL(q ‖ p)."""
    at = place_of(scene.model, variable, cell)
    if not analytic:
        return log_density(variable, guide, at, scene)
    assert variable.law is not None
    shape = shape_of(variable.type, row.sizes)
    q, p = (torch_family(chosen(variable, law, at, scene), at, scene, shape) for law in (guide, variable.law))
    divergence = dist.kl_divergence(_expanded(q, shape), _expanded(p, shape)).sum()
    return log_density(variable, variable.law, at, scene) + divergence


def _expanded(family: dist.Distribution, shape: tuple[int, ...]) -> dist.Distribution:
    """The family with the batch shape that its draws have."""
    return family.expand(torch.Size(shape[: len(shape) - len(family.event_shape)]))
