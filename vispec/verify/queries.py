"""Queries about all latents of a row together, set against its enumeration: the entropy, and the k best assignments."""

import torch

from vispec.verify.checks import MARGINAL, VALUE, best_value, distance
from vispec.verify.report import Check
from vispec.verify.trial import Trial

BEST = 4


def check_entropy(trial: Trial) -> Check:
    """Of the joint posterior, in nats."""
    got = trial.built.module.posterior(trial.batch, query="entropy")
    if "(joint)" not in got:
        return Check("posterior entropy", skipped="several draws")
    rows = [i for i, each in enumerate(trial.enumerations) if each.cells and bool(each.log_prob > -torch.inf)]
    gaps = [distance(got["(joint)"][i], trial.enumerations[i].entropy) for i in rows]
    return Check("posterior entropy", len(gaps), max(gaps) if gaps else None, MARGINAL)


def check_k_best(trial: Trial) -> Check:
    """The largest joints there are, in order, each with an assignment that has it, no two the same."""
    got = trial.built.module.posterior(trial.batch, query=f"kbest({BEST})")
    gaps = []
    for index, each in enumerate(trial.enumerations):
        if not each.cells:
            continue
        found, best = got["(log_joint)"][index], each.log_joint.detach().sort(descending=True).values[:BEST]
        gaps.append(distance(found[: len(best)], best))
        possible = int((best > -torch.inf).sum())
        chosen = [
            {cell: best_value(trial, index, cell, got[cell[0]][index][rank][cell[1]]) for cell in each.cells}
            for rank in range(possible)
        ]
        gaps += [distance(each.log_joint_at(value), found[rank]) for rank, value in enumerate(chosen)]
        if len({tuple(value.items()) for value in chosen}) < possible or bool((found[possible:] > -torch.inf).any()):
            return Check(f"{BEST} best", failure=f"row {index}: an assignment twice, or one too many")
    return Check(f"{BEST} best", len(gaps), max(gaps) if gaps else None, VALUE)
