"""Labelled stretches by their definition: a way to cut a sequence, and a label for each stretch. A value is a flat tuple: the
labels of all elements, then of each element whether a stretch begins there."""

from functools import cache
from itertools import product

import torch
from torch import Tensor

from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.labelled import Labelled, labelled

MOST = 20_000  # ways


@cache
def all_cuts(count: int, longest: int) -> tuple[tuple[int, ...], ...]:
    """The lengths of the stretches, for each way to cut so many elements."""
    if count == 0:
        return ((),)
    return tuple((d, *rest) for d in range(1, min(count, longest) + 1) for rest in all_cuts(count - d, longest))


@cache
def all_stretches(count: int, longest: int, labels: int) -> tuple[Labelled, ...]:
    """Every way to cut so many elements and to label the stretches."""
    cuts = all_cuts(count, longest)
    if sum(labels ** len(lengths) for lengths in cuts) > MOST:
        raise NotCheckedError(f"all ways to cut and label {count} elements")
    return tuple(
        labelled(
            count,
            labels,
            [k for k, d in zip(chosen, lengths, strict=True) for _ in range(d)]
            + [int(i == 0) for d in lengths for i in range(d)],
        )
        for lengths in cuts
        for chosen in product(range(labels), repeat=len(lengths))
    )


def log_density(value: Tensor, params: dict[str, Tensor], longest: int, cut: bool) -> Tensor:
    """log p of one: each label given the one before, and each length given its label; without a law of lengths all ways to cut
    have one probability. weight: numbers in the place of probabilities of lengths."""
    count = len(value) // 2
    begins = value[count:].nonzero()[:, 0].tolist()
    labels = value[begins].tolist()
    lengths = [end - start for start, end in zip(begins, [*begins[1:], count], strict=True)]
    init = params.get("init", torch.ones(1)).double()
    move = params.get("move", init).double()
    found = torch.zeros((), dtype=torch.float64)
    for s, k in enumerate(labels):
        law = init if s == 0 else move[labels[s - 1]] if move.dim() == 2 else move
        found = found + law[k].log()
    if "duration" not in params and "weight" not in params:
        return found - torch.tensor(float(len(all_cuts(count, longest))), dtype=torch.float64).log()
    for s, (k, d) in enumerate(zip(labels, lengths, strict=True)):
        law = params["weight" if "weight" in params else "duration"].double()
        law = law[k] if law.dim() == 2 else law
        found = found + (law[d - 1 :].sum() if cut and s == len(labels) - 1 else law[d - 1]).log()
    return found
