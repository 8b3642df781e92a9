"""Models whose rows share latents or random weights: what these add to the bound, and the bound of a whole batch.

(N / M) Σ_rows E_q[log p(row | shared)] + E_q[log p(shared) − log q(shared)]"""

import math

import torch
from torch import Generator, Tensor

from vispec.catalog import distributions
from vispec.model.model import Model
from vispec.model.walk import draws as draws_of
from vispec.seeds import reseed
from vispec.verify.bounds.bound import Estimate, averages, confirmed, estimate, gap, one_draw
from vispec.verify.bounds.recorder import Recorder
from vispec.verify.bounds.shared import (
    forms_of,
    gradient_setting,
    joint_noise,
    joint_values,
    log_ratio,
    own_draw,
    shared_variables,
    with_narrow_guides,
)
from vispec.verify.checks import GRADIENT, VALUE, distance, gradient_gap, weighed
from vispec.verify.data import Batch, take
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.oracle import enumerate_log_prob
from vispec.verify.oracle.weights import random_layers, weights_with_noise
from vispec.verify.report import Check
from vispec.verify.trial import Trial

ROWS = 4  # of which half a batch has two
OURS, THEIRS = 100, 400  # draws


def check_shared(trial: Trial) -> tuple[Check, Check]:
    """log p − log q of what rows share and its gradient, exactly, at the module's own draw."""
    row, shared = trial.rows[0], trial.shared
    joint = joint_noise(trial.built, shared)
    found = []
    for forms in forms_of(trial.built):
        try:
            expected = log_ratio(trial.built, row, shared, forms, joint)
        except (NotImplementedError, NotCheckedError):  # no closed form here
            if not any(forms.values()):
                raise
            continue
        found.append((distance(shared.log_ratio, expected), expected))
    error, expected = min(found, key=lambda pair: pair[0])
    for known, noise in zip(shared.samples, joint or [None] * len(shared.samples), strict=True):
        own = {} if noise is None else joint_values(trial.built, row, noise)
        error = max([error, *(distance(known[cell], value) for cell, value in own.items())])
    value = Check("shared: log p - log q", len(shared.samples), error, NEAR_ENDS if between_ends(trial.built.model) else VALUE)
    return value, _check_gradient(trial, shared.log_ratio, expected)


NEAR_ENDS = 1e-6  # the oracle has log q of a draw by its distance from the ends, of which few digits are left near them


def between_ends(model: Model) -> bool:
    """Whether a guide's draws lie between ends."""
    return any(any(distributions()[draw.distribution].bounds) for guide in model.guide for draw in draws_of(guide.law))


def _check_gradient(trial: Trial, got: Tensor, expected: Tensor) -> Check:
    """Of what rows share, for every parameter."""
    name = "shared: gradient"
    asked = {gradient_setting(trial.built.model, variable.name) for variable in shared_variables(trial.built.model)}
    if asked - {"pathwise", "stl"}:
        return Check(name, skipped=f"gradient={', '.join(sorted(asked))}")
    named = dict(trial.built.module.named_parameters())

    def gradient(value: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad(value, list(named.values()), retain_graph=True, materialize_grads=True, allow_unused=True)
        return dict(zip(named, found, strict=True))

    gap = gradient_gap(gradient(got), gradient(expected))
    return Check(name, sum(parameter.numel() for parameter in named.values()), gap, GRADIENT)


def check_whole(trial: Trial, generator: Generator) -> Check:
    """−loss in the mean over draws, of all data and of either half as its minibatch, against draws of our own from guides made
    narrow."""
    if not averages(trial.built.module.estimator):
        raise NotCheckedError(f"estimator {trial.built.module.estimator}")
    count = min(ROWS, trial.count) // 2 * 2
    if not count:
        raise NotCheckedError("halves of a batch of one row")
    rows = torch.arange(count)
    parts = [take(trial.built.model, trial.batch, part) for part in (rows, rows[: count // 2], rows[count // 2 :])]
    narrow = Trial(with_narrow_guides(trial.built), trial.batch, trial.count)

    def measure(times: int) -> float:
        with torch.random.fork_rng(devices=[]):
            reseed(int(torch.randint(2**31, (), generator=generator)))
            expected = estimate(torch.stack([own_bound(narrow, count, generator) for _ in range(times * OURS)]))
            whole, first, second = (module_bound(narrow, part, count, times * THEIRS) for part in parts)
        halves = Estimate((first.mean + second.mean) / 2, math.hypot(first.error, second.error) / 2)
        return max(gap(each, expected) for each in (whole, halves))

    return Check("whole bound, mean over draws", 2, confirmed(measure), 1.0)


@torch.no_grad()
def module_bound(trial: Trial, batch: Batch, num_data: int, calls: int) -> Estimate:
    """−loss, averaged over calls."""
    return estimate(torch.stack([-trial.built.module.loss(batch, num_data) for _ in range(calls)]))


@torch.no_grad()
def own_bound(trial: Trial, count: int, generator: Generator) -> Tensor:
    """The bound of the first rows at one draw of our own, as if they were all data."""
    values, ratio = own_draw(trial.built, trial.rows[0], generator)
    rows = torch.tensor([one_draw(trial, row, values) for row in trial.rows[:count]], dtype=torch.float64)
    return weighed(trial, rows).sum() + ratio


def check_weights(trial: Trial) -> tuple[Check, Check]:
    """log p of each row and its gradient, exactly, at the noise of the module's random layers."""
    if len(trial.shared.samples) != 1:
        raise NotCheckedError("random weights under several samples of what rows share")
    layers = random_layers(trial.built)
    _ = trial.shared  # drawn before the noise of the rows is recorded
    with Recorder() as recorder:
        got = trial.emitted(trial.batch)
    if [tuple(n.shape) for n in recorder.noise] != [(trial.count, random.width) for random in layers]:
        raise NotCheckedError("a net with random weights that is not run once for each row")
    expected = []
    for index, row in enumerate(trial.rows):
        noise = {id(random.layer): n[index] for random, n in zip(layers, recorder.noise, strict=True)}
        with weights_with_noise(trial.built, noise):
            expected.append(enumerate_log_prob(trial.built.model, trial.built.module, row, trial.shared.samples[0]).log_prob)
    brute = torch.stack(expected)
    gap = gradient_gap(trial.gradients(got), trial.gradients(brute))
    numbers = sum(parameter.numel() for parameter in trial.built.module.parameters())
    return (
        Check("bound at its own draw", trial.count, distance(got, brute), VALUE),
        Check("gradient at its own draw", numbers, gap, GRADIENT),
    )
