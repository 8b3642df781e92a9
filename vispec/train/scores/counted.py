"""How many rows each row of the data stands for: `fit: weight : w`, and 1 where a spec has no weights."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]


def weight_of(data: Any) -> str | None:
    """The key of the weights in the batches of a data set, which need not say that it has none."""
    return getattr(data, "weight", None)


def total(data: Any, rows: Array | None = None) -> int | float:
    """How many rows these rows (all, if None) stand for."""
    if weight_of(data) is None:
        return data.num_rows if rows is None else len(rows)
    return plain(data.weights(rows).sum())


def scored(data: Any) -> int | float:
    """How many elements are scored, those of a row as often as it counts."""
    if weight_of(data) is None:
        return data.tokens()
    return plain((data.weights() * data.row_tokens()).sum())


def plain(value: Any) -> int | float:
    """Frequencies add up to a whole number."""
    number = float(value)
    return int(number) if number.is_integer() else number


def weighed(log_prob: Tensor, batch: dict[str, Tensor], weight: str | None) -> Tensor:
    """Log-probabilities (*S, B) as so many rows each; one of none, which may be impossible, adds nothing."""
    if weight is None:
        return log_prob
    weights = batch[weight].to(log_prob.dtype)
    return torch.where(weights > 0, weights * log_prob, 0.0)


def spread(data: Any, count: int, offset: float = 0.5) -> Array:
    """`count` rows (count,) at equal distances among those that the rows stand for, the first at `offset` of a distance."""
    bounds = np.cumsum(data.weights())
    at = (np.arange(count) + offset) * (bounds[-1] / count)
    return np.minimum(np.searchsorted(bounds, at, side="right"), np.flatnonzero(data.weights())[-1])


def sample(data: Any, most: int, generator: torch.Generator) -> Array:
    """Up to `most` of the rows, drawn by their weights, in their order: of rows that stand for several, some come again."""
    if weight_of(data) is None:
        return np.sort(data.order(most, generator)[0])
    weights = data.weights()
    if weights.sum() <= most and (weights % 1 == 0).all():
        return np.repeat(np.arange(len(weights)), weights.astype(np.int64))
    return spread(data, most, float(torch.rand((), generator=generator)))
