"""Minibatches of about so many tokens: rows of like length together, so that little of a batch is padding.

A batch is as many rows as fit when each is as long as the longest; a row that is longer than a batch is one by itself.
"""

from typing import Any

import numpy as np
import torch

from vispec.train.data.order import POOL

Array = np.ndarray[Any, Any]


def by_tokens(lengths: Array, most: int, generator: torch.Generator) -> list[Array]:
    """The rows of each minibatch of one epoch, shuffled by the generator. lengths: tokens of each row (N,)."""
    lengths = np.maximum(lengths, 1)
    rows = torch.randperm(len(lengths), generator=generator).numpy()
    pool = max(1, int(POOL * most / lengths.mean()))
    pools = (rows[i : i + pool] for i in range(0, len(rows), pool))
    batches = [batch for each in pools for batch in cut(each[np.argsort(lengths[each], kind="stable")], lengths, most)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def cut(rows: Array, lengths: Array, most: int) -> list[Array]:
    """Rows in order of their length, in pieces whose rows times the last one's length are no more than `most`."""
    found, start = list[Array](), 0
    while start < len(rows):
        padded = lengths[rows[start : start + most]] * np.arange(1, min(most, len(rows) - start) + 1)
        count = max(1, int(np.searchsorted(padded, most, side="right")))
        found.append(rows[start : start + count])
        start += count
    return found
