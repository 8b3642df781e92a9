"""Every comparison for one spec: rebuilt at tiny sizes and enumerated in float64, set against the emitted module."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Unpack

import torch
from torch import Generator

from vispec.plan.budget import Limits
from vispec.source import Source
from vispec.verify import checks
from vispec.verify.bounds.bound import averages, check_bound, drawn_variables, guiding_laws
from vispec.verify.bounds.draws import check_at_draw, check_noise
from vispec.verify.bounds.queries import chained, check_divergence, check_entropy, check_k_best, check_pairs
from vispec.verify.bounds.shared import shares
from vispec.verify.bounds.whole import check_shared, check_weights, check_whole
from vispec.verify.build import Built, build, randomise
from vispec.verify.checks import guarded
from vispec.verify.data import with_rubbish
from vispec.verify.derived import check_derived, derived
from vispec.verify.errors import NoNumberError, NotCheckedError
from vispec.verify.oracle.row import ENUMERABLE, in_data
from vispec.verify.oracle.weights import random_layers
from vispec.verify.report import Check, Report
from vispec.verify.trial import Trial, continuous_latents, finite_unknowns, small_batch, sums

LIMIT = 20_000  # assignments per row: a few seconds
SCALES = (20.0, 100.0)


def verify(
    source: Source, sizes: Mapping[str, int] | None = None, seed: int = 0, rows: int = 5, **limits: Unpack[Limits]
) -> Report:
    """Compare the module emitted for a spec with brute force; `sizes` overrides the tiny sizes chosen otherwise, and limits are
    those of compile_spec.

    Raises SpecError for a spec that does not compile."""
    built = build(source, sizes or {}, **limits)
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    try:
        batch, terms = small_batch(built, rows, generator, LIMIT)
    except NotCheckedError as reason:
        return Report(source.name, built.sizes, 0, (Check("log-probability", skipped=str(reason)),))
    trial = Trial(built, batch, rows)
    try:
        found = list(_all_checks(trial, terms, generator))
    except NoNumberError as reason:
        found = [Check("log-probability", skipped=str(reason))]
    return Report(source.name, built.sizes, terms, tuple(found))


def _all_checks(trial: Trial, terms: int, generator: Generator) -> Iterator[Check]:
    reason = _beyond(trial.built, terms)
    if shares(trial.built):
        yield from _shared_checks(trial, generator)
    if reason is not None:
        yield Check("log-probability", skipped=reason)
        if _drawn_from_guide(trial.built, terms):
            yield guarded("bound, mean over draws", lambda: check_bound(trial, generator))
            yield guarded("loss", lambda: checks.check_loss(trial))
        if trial.built.module.estimator != "exact":  # changes from call to call
            return
    elif continuous_latents(trial.built):
        yield from _bound_checks(trial, generator)
        return
    elif random_layers(trial.built):
        yield from _weight_checks(trial, generator)
        return
    else:
        yield from _value_checks(trial)
        yield from _posterior_checks(trial)
    yield from _invariance_checks(trial, generator)
    if reason is None:
        yield from _other_parameters(trial, generator)


def _beyond(built: Built, terms: int) -> str | None:
    """Why brute force is out of reach here, if it is."""
    if terms > LIMIT:
        return f"{terms} assignments for one row; the limit is {LIMIT}"
    by_draws = not shares(built) or any(v.type.domain in ENUMERABLE for v in drawn_variables(built.model))
    if by_draws and not continuous_latents(built) and not sums(built):
        return f"estimator {built.module.estimator}"
    budget = min((infer.budget for infer in built.model.infer if infer.budget is not None), default=terms)
    if terms > budget:
        return f"{terms} assignments for one row; they are exact up to {budget}"
    return None


def _drawn_from_guide(built: Built, terms: int) -> bool:
    """Whether all latents are finite and drawn from their guides, so that the bound is a sum over their values."""
    model = built.model
    guided = guiding_laws(model).keys()
    latents = [v for v in model.variables if v.role in ("latent", "partial")]
    drawn = averages(built.module.estimator) and not any(net.random for net in model.nets)
    return drawn and terms <= LIMIT and all(v.name in guided and in_data(model, v.plates) for v in latents)


def _bound_checks(trial: Trial, generator: Generator) -> Iterator[Check]:
    """A bound changes from call to call: it is compared at the draw that was made or, where that is not known, in the mean."""
    built = trial.built
    try:
        yield from check_at_draw(trial)
        padded = Trial(built, with_rubbish(built.model, built.sizes, trial.batch, generator), trial.count)
        yield guarded("rubbish in the padding", lambda: replace(check_at_draw(padded)[0], name="rubbish in the padding"))
        yield check_noise(trial)
    except NotCheckedError as reason:
        yield Check("gradient at its own draw", skipped=str(reason))
        yield guarded("bound, mean over draws", lambda: check_bound(trial, generator))
    yield guarded("loss", lambda: checks.check_loss(trial))


def _shared_checks(trial: Trial, generator: Generator) -> Iterator[Check]:
    """What all rows share, and how it enters the bound of a batch."""
    try:
        yield from check_shared(trial)
    except NotCheckedError as reason:
        yield Check("shared: log p - log q", skipped=str(reason))
    if trial.built.module.estimator != "exact":
        yield guarded("whole bound, mean over draws", lambda: check_whole(trial, generator))


def _weight_checks(trial: Trial, generator: Generator) -> Iterator[Check]:
    """The weights of nets are drawn for each row: compared at these draws, and in the mean with draws of all weights."""
    try:
        yield from check_weights(trial)
    except NotCheckedError as reason:
        yield Check("gradient at its own draw", skipped=str(reason))
    yield guarded("bound, mean over draws", lambda: check_bound(trial, generator))
    yield guarded("loss", lambda: checks.check_loss(trial))


def _value_checks(trial: Trial) -> Iterator[Check]:
    """Raises NoNumberError where a law has no value at some value of the latents: nothing could agree then."""
    yield guarded("log-probability", lambda: checks.check_log_prob(trial), needed=True)
    yield guarded("gradient", lambda: checks.check_gradient(trial))
    yield guarded("loss", lambda: checks.check_loss(trial))


def _posterior_checks(trial: Trial) -> Iterator[Check]:
    if finite_unknowns(trial.built) and not sums(trial.built):
        yield Check("posterior", skipped="given a draw of its own of what rows share")
    elif checks.has_shaped_unknowns(trial):
        yield Check("posterior", skipped="a finite unknown with an event shape")
    elif finite_unknowns(trial.built):
        yield guarded("posterior marginals", lambda: checks.check_marginals(trial))
        yield guarded("posterior mode", lambda: checks.check_mode(trial))
        yield guarded("posterior entropy", lambda: check_entropy(trial))
        yield guarded("posterior divergence", lambda: check_divergence(trial))
        if chained(trial):
            yield guarded("pairs in chains", lambda: check_pairs(trial))
        yield guarded("k best", lambda: check_k_best(trial))
        if any(variable.role == "partial" for variable in finite_unknowns(trial.built)):
            yield guarded("marginals of observed cells", lambda: checks.check_observed_marginals(trial))
    if trial.built.model.integrated and sums(trial.built):
        yield guarded("posterior moments", lambda: checks.check_moments(trial))
    for let in derived(trial):
        yield guarded(f"posterior mean of {let.name}", lambda let=let: check_derived(trial, let))


def _invariance_checks(trial: Trial, generator: Generator) -> Iterator[Check]:
    yield guarded("rubbish in the padding", lambda: checks.check_rubbish(trial, generator))
    yield guarded("rows in another order", lambda: checks.check_permutation(trial, generator))
    yield guarded("rows one by one", lambda: checks.check_splitting(trial))


def _other_parameters(trial: Trial, generator: Generator) -> Iterator[Check]:
    """The same batch under parameters with exact zeros, and under potentials far apart; cells missing all or not at all."""
    built = trial.built
    if any(variable.role == "partial" for variable in built.model.variables):
        for missing, name in ((1.0, "every partial cell missing"), (0.0, "no partial cell missing")):
            yield guarded(name, lambda m=missing, n=name: _with_missing(trial, generator, m, n))
    if any(param.type.domain == "simplex" and param.name in built.own for param in built.model.params):
        randomise(built, generator, zeros=0.4)
        zeros = Trial(built, trial.batch, trial.count)
        yield guarded("exact zeros: log-probability", lambda: checks.check_impossible(zeros))
        yield guarded("exact zeros: gradient", lambda: checks.check_gradient(zeros, "exact zeros: gradient"))
    if sums(built) and finite_unknowns(built) and not checks.has_shaped_unknowns(trial):
        yield from _extremes(trial, generator)


def _with_missing(trial: Trial, generator: Generator, missing: float, name: str) -> Check:
    """Another batch, so large a part of whose partial cells is missing."""
    batch, terms = small_batch(trial.built, trial.count, generator, LIMIT, missing)
    if reason := _beyond(trial.built, terms):
        return Check(name, skipped=reason)
    return checks.check_log_prob(Trial(trial.built, batch, trial.count), name)


def _extremes(trial: Trial, generator: Generator) -> Iterator[Check]:
    for scale in (1.0, *SCALES):
        randomise(trial.built, generator, scale)
        far = Trial(trial.built, trial.batch, trial.count)
        if scale != 1.0:
            name = f"posterior marginals, scale {scale:g}"
            yield guarded(name, lambda t=far, n=name: checks.check_marginals(t, n))
        name = f"marginals sum to 1, float32, scale {scale:g}"
        yield guarded(name, lambda t=far, s=scale: checks.check_single_precision(t, s))
