"""Values of structures that label each element of a plate, and have parts beside: parses and stretches."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Labelled(tuple[int, ...]):
    """One of them: the labels of so many `elements`, which are below `card`, then what tells its parts."""

    elements = 0
    card = 0


def labelled(count: int, card: int, numbers: Sequence[int]) -> Labelled:
    found = Labelled(numbers)
    found.elements, found.card = count, card
    return found


def label_marginals(values: tuple[Labelled, ...], mass: Tensor) -> Tensor:
    """p(label of i = k), (n, K), of values with these probabilities (N,)."""
    tags = torch.tensor(values, dtype=torch.int64).reshape(len(values), -1)[:, : values[0].elements]
    return (torch.nn.functional.one_hot(tags, values[0].card).double() * mass[:, None, None]).sum(0)
