"""Runs side by side: log-probability, free parameters, AIC, BIC, and the expected log predictive density of each."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from vispec.answers.compared.alike import same_files, same_rows, were_fitted
from vispec.answers.compared.comparison import Compared, Comparison
from vispec.answers.compared.draws import DRAWS, Draws, draw
from vispec.answers.compared.loo import Density, left_out, of_new, spread, summed
from vispec.answers.compared.pointwise import log_likelihood
from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.estimates.make import Say
from vispec.train.estimates.stored import find_estimates, training_data
from vispec.train.estimates.uncertainty.standard import BOUND, ENDLESS
from vispec.train.estimates.values import Estimates
from vispec.train.scores.counted import total
from vispec.train.scores.evaluate import evaluate
from vispec.train.store.run import Run

NAMED = 5  # rows in a sentence


def compare(
    runs: Sequence[Run],
    data: Sequence[Dataset] | None,
    device: torch.device,
    say: Say,
    draws: int = DRAWS,
    seed: int = 0,
    training: Sequence[Dataset | None] | None = None,
) -> Comparison:
    """The runs on the rows that they were fitted to, or on those of `data`, the same for each. training: the former, where they
    are not to be read from the files that the runs name. RunError where rows differ."""
    if data is None and training is None:
        same_files(runs)
    if training is None:
        training = [rows_of(run, say) for run in runs]
    known = [each for each in data or training if each is not None]
    if len(known) == len(runs):
        same_rows(runs, known)
    if data is not None and were_fitted(runs, data, training):
        data = None
    found = [one(run, None if data is None else data[i], training[i], device, say, draws, seed) for i, run in enumerate(runs)]
    return Comparison(data is None, draws, ranked([told for told, _ in found], [density for _, density in found]))


def rows_of(run: Run, say: Say) -> Dataset | None:
    """What a run was fitted to, None where it is gone."""
    found = training_data(run, lambda text: say(f"{run.folder}: {text}"))
    return found if isinstance(found, Dataset) else None


def one(
    run: Run, data: Dataset | None, training: Dataset | None, device: torch.device, say: Say, count: int, seed: int
) -> tuple[Compared, Density | None]:
    """One run, as far as it can be told alone. data: rows that were not fitted."""
    rows, kept = data, None
    if data is None:
        rows, known = training, find_estimates(run, say)
        told = Compared(str(run.folder), known.rows, known.log_prob, known.bound, known.free_parameters, known.aic, known.bic)
        kept = ends(known)
    else:
        score = evaluate(run.load(device), data, run.config.settings.batch or 1, device, seed=seed)
        told = Compared(str(run.folder), total(data), score.log_prob, score.bound)
    try:
        made = draw(run, training, device, count, seed, say)
        if rows is None:
            raise RunError("the training data are not there")
        density = predictive(made, rows, data is None)
    except RunError as error:
        return replace(told, note=str(error)), None
    error = None if math.isnan(density.error) else density.error
    bad, most = tuple(density.bad.tolist()), None if density.k is None else density.most
    note = "; ".join(filter(None, (unsure(density), kept))) or None
    found = replace(told, elpd=density.total, elpd_se=error, p_loo=density.parameters, bad_k=bad, k_max=most, note=note)
    return found, density


def ends(known: Estimates) -> str | None:
    """A sentence about parameters that all draws leave at the end of their domain."""
    names = [entry.title for entry in known.parameters if entry.note in (BOUND, ENDLESS) and not entry.derived]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"draws leave at the end of their domain: {', '.join(names[:NAMED])}{more}" if names else None


def predictive(made: Draws, rows: Dataset, fitted: bool) -> Density:
    """Of each part of the data, of fitted ones without it."""
    units, found = log_likelihood(made, rows)
    if units.kind == "step":
        if fitted:
            raise RunError(f"no step of `{units.plate}` can be left out, for those after it read it")
        found = found.sum(-1, keepdim=True)
    weights = rows.weights() if units.kind == "row" else np.ones(found.shape[-1])
    return (left_out if fitted else of_new)(made, found.numpy(), weights)


def unsure(density: Density) -> str | None:
    """A sentence about rows whose densities cannot be trusted."""
    bad = density.bad
    if density.k is None or not len(bad):
        return None
    worst = bad[np.argsort(-density.k[bad], kind="stable")]
    shown = ", ".join(f"{i} ({density.k[i]:.2f})" for i in worst[:NAMED].tolist())
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return (
        f"Pareto k above {density.most:.2f} in {len(bad)} of {len(density.each)} rows: {shown}{more}; elpd is not to be trusted"
    )


def ranked(told: Sequence[Compared], densities: Sequence[Density | None]) -> tuple[Compared, ...]:
    """In order, with differences from the best."""
    order = sorted(range(len(told)), key=lambda i: worth(told[i]), reverse=True)
    best = densities[order[0]]
    found: list[Compared] = []
    for i in order:
        own = densities[i]
        if best is None or own is None or len(own.each) != len(best.each):
            found.append(told[i])
            continue
        if own is best:
            found.append(replace(told[i], elpd_diff=0.0, elpd_diff_se=0.0))
            continue
        gap = own.each - best.each
        error = spread(gap, own.weights)
        found.append(
            replace(told[i], elpd_diff=float(summed(gap, own.weights)), elpd_diff_se=None if math.isnan(error) else error)
        )
    return tuple(found)


def worth(told: Compared) -> tuple[bool, float, bool, float, float]:
    """What runs are put in order by."""
    return (
        told.elpd is not None,
        -math.inf if told.elpd is None or math.isnan(told.elpd) else told.elpd,
        told.aic is not None,
        0.0 if told.aic is None else -told.aic,
        -math.inf if told.log_prob is None else told.log_prob,
    )
