"""The score of a data set as it is told at the end: with diagnostics, and where rows share latents, a bound on their evidence.

Given what they share, rows are independent, and their score is E_q[log p(rows | shared)]: what data, held out or not, are worth
under the guides. It may exceed the evidence; less KL(q(shared) ‖ p(shared)), once for all rows, it is a lower bound on it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from vispec.model.model import Model
from vispec.plan.planner import plan_of
from vispec.seeds import derive
from vispec.train.scores.diagnostics import diagnose
from vispec.train.scores.evaluate import Rows, Score, evaluate
from vispec.train.scores.weights import AT_ONCE, Estimator
from vispec.train.setup.distributed import Group

PASSES = 64


@dataclass(frozen=True)
class Latents:
    """What a plan says of the latents and a module does not. own: rows have drawn ones of their own. points: all rows share
    some that are point estimates, which have a prior but no divergence."""

    own: bool = True
    points: bool = False


def latents_of(model: Model) -> Latents:
    """Those of a checked model."""
    plan = plan_of(model)
    own = any(plan.data_plate in model.variable[found.variable].plates for found in plan.drawn)
    return Latents(own, any(found.gradient == "point" for found in plan.treatments.values()))


def final_score(
    module: nn.Module,
    data: Rows,
    size: int,
    device: torch.device,
    latents: Latents,
    group: Group | None = None,
    seed: int = 0,
    estimator: Estimator | None = None,
) -> Score:
    """The module's score on all rows, or under another estimator, and how it uses its latents."""
    seeds = [seed] if estimator is not None else [seed, *(derive(seed, i) for i in range(1, passes(module, data)))]
    score = mean([evaluate(module, data, size, device, group, each, estimator) for each in seeds])
    found = diagnose(module, data, size, device, seed, latents.own, not latents.points)
    shared = found["shared_kl"] if found is not None and score.bound == "expected" else None
    if found is None or shared is None:
        return replace(score, diagnostics=found)
    known = score.standard_error
    error = None if known is None else math.hypot(known, found["shared_kl_error"])
    return replace(score, diagnostics=found, evidence_bound=score.log_prob - shared, evidence_bound_error=error)


def passes(module: nn.Module, data: Rows) -> int:
    """How often to score: rows that share a draw share its chance too, which does not fall with their number, and matters
    where they are few."""
    if not hasattr(module, "shared") or getattr(module, "exact", False):
        return 1
    return min(max(AT_ONCE // max(data.tokens(), data.num_rows, 1), 1), PASSES)


def mean(scores: list[Score]) -> Score:
    """Of several passes, with the standard error of their mean."""
    first, count = scores[0], len(scores)
    if count == 1:
        return first
    found = np.array([score.log_prob for score in scores])
    error = float(found.std(ddof=1)) / math.sqrt(count) if np.isfinite(found).all() else None
    return replace(first, log_prob=float(found.mean()), standard_error=error)


def subtracted(score: Mapping[str, Any]) -> str:
    """What a bound on evidence was reached by, for a reader."""
    return f"{score['log_prob'] - score['evidence_bound']:.4g} subtracted for the divergence of what rows share"


def kind_of(score: Mapping[str, Any]) -> str:
    """What a score's log-probability is, for a reader."""
    told = score["diagnostics"] or {}
    bounded = told.get("latents") or told.get("effective_samples") is not None
    kinds = {
        "exact": "exact",
        "lower": "a lower bound",
        "estimate": "an estimate",
        "expected": f"{'a lower bound on the ' if bounded else ''}expected log-probability, given what rows share",
        "predictive": "posterior predictive of each row",
    }
    return kinds[score["bound"]]


def scored(score: Mapping[str, Any], training: bool) -> str:
    """One line of a score: of training data what the fit maximised, of others what they are worth given what rows share."""
    key, kind, rest = "log_prob", "log-probability", ""
    if training and score.get("evidence_bound") is not None:
        key, kind, rest = "evidence_bound", "bound", f", with {subtracted(score)}"
    elif score["bound"] in ("expected", "predictive"):
        kind = kind_of(score)
    elif not score["exact"]:
        kind = "bound"
    kind += "" if score["exact"] else f" ({score['estimator']})"
    return f"{kind} {score[key]:z.2f} nats, {score[f'{key}_per_row']:z.4f} per row{rest}"
