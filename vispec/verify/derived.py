"""Posterior means of derived quantities against their means over all assignments."""

import torch
from torch import Tensor

from vispec.model.constant import derived_lets
from vispec.model.model import Let
from vispec.model.types import FINITE_DOMAINS
from vispec.verify.checks import MARGINAL, distance, worst
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.expressions import Scene, evaluate
from vispec.verify.oracle.oracle import Enumeration
from vispec.verify.oracle.row import Place, Row, as_tensor
from vispec.verify.report import Check
from vispec.verify.trial import Trial

MANY = 5_000  # assignments of a row, each of which asks for each element of the quantity


def check_derived(trial: Trial, let: Let) -> Check:
    """Of one quantity, at each of its elements in each possible row."""
    name = f"posterior mean of {let.name}"
    if hasattr(trial.built.module, f"value_of_{let.name}"):
        return Check(name, skipped="told by draws")
    try:
        found = trial.built.module.posterior(trial.batch, of=let.name)[let.name]
    except ValueError as error:
        if "cannot be told" not in str(error):
            raise
        return Check(name, skipped=str(error))
    gaps = list[float]()
    for index, (row, enumeration) in enumerate(zip(trial.rows, trial.enumerations, strict=True)):
        if bool(enumeration.log_prob > -torch.inf):
            for at in row.places(let.plates):
                expected = mean(trial, let, row, at, enumeration)
                gaps.append(distance(found[index][tuple(at.values())][tuple(map(slice, expected.shape))], expected))
    return Check(name, len(gaps), worst(gaps) if gaps else None, MARGINAL)


def mean(trial: Trial, let: Let, row: Row, at: Place, enumeration: Enumeration) -> Tensor:
    """Of its values at one element under each assignment; of a finite one, of 1 at its value."""
    if len(enumeration.choices) > MANY:
        raise NotCheckedError(f"{len(enumeration.choices)} assignments for one row")
    model = trial.built.model
    scene = Scene(model, trial.built.module, row)
    total: Tensor = torch.zeros(())
    for number, (choice, share) in enumerate(zip(enumeration.choices.tolist(), enumeration.posterior, strict=True)):
        if not share:
            continue
        scene.assignment = dict(trial.shared.samples[0]) | {
            cell: as_tensor(support[i], model.variable[cell[0]].type, row.sizes)
            for cell, support, i in zip(enumeration.cells, enumeration.supports, choice, strict=True)
        }
        scene.assignment |= {
            cell: means[number] for cell, (means, _) in enumeration.integrated.items()
        }  # it is affine in these
        value = evaluate(let.value, at, scene).detach()
        if let.type.domain in FINITE_DOMAINS:
            value = torch.nn.functional.one_hot(value.long(), row.card(let.type, at))
        total = total + share * value.double()
    return total


def derived(trial: Trial) -> list[Let]:
    """Those that are told exactly."""
    return derived_lets(trial.built.model) if trial.built.module.estimator == "exact" else []
