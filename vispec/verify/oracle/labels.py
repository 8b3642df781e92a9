"""The labels of a plate under a linear chain, by its definition: the score of one labelling among those of all."""

from itertools import product

import torch
from torch import Tensor

from vispec.model import model as m
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.expressions import Scene, evaluate, own
from vispec.verify.oracle.row import Place

MOST = 50_000  # labellings


def log_density(draw: m.Draw, variable: m.Variable, at: Place, scene: Scene) -> Tensor:
    """What an element adds to log p of all labels: its scores, and with the first element's minus the log-sum over all."""
    along = str(variable.type.along)
    scores, move = (evaluate(expression, at, scene).double() for _, expression in draw.args)
    here, value = at[along], own(variable, at, scene)
    if here:
        return scores[here, value] + move[own(variable, {**at, along: here - 1}, scene), value]
    return scores[0, value] - log_sum(scores, move)


def log_sum(scores: Tensor, move: Tensor) -> Tensor:
    """Of the scores of all labellings; scores (n, K), n > 0, move (K, K)."""
    count, labels = scores.shape
    if labels**count > MOST:
        raise NotCheckedError(f"all labellings of {count} elements")
    every = torch.tensor([*product(range(labels), repeat=count)])
    seen = scores.expand(len(every), -1, -1).gather(-1, every[..., None]).sum((1, 2))
    return (seen + move[every[:, :-1], every[:, 1:]].sum(-1)).logsumexp(0)
