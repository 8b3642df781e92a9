"""The rows of each minibatch of an epoch, found when they are asked for: all that is kept is a permutation, if that."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, overload

import numpy as np

from vispec.train.data.columns import Array
from vispec.train.data.scatter import Scattered

POOL = 64  # minibatches whose rows are sorted by length together when bucketing
KEPT = 1 << 20  # rows of sorted pools that are kept, or one pool: batches of a pool come at any time


class Order(Sequence[Array]):
    """rows: all, in the order of the epoch. batches: which piece of `size` of them each minibatch is. lengths: of each row,
    where rows of like length are put together. shuffled: they are so in pools, as many rows are, else all of them."""

    def __init__(self, rows: Array | range | Scattered, size: int, batches: Array, lengths: Array | None, shuffled: bool):
        self.rows, self.size, self.batches, self.lengths = rows, size, batches, lengths
        self.pool = size * POOL if shuffled or len(rows) > KEPT else max(1, len(rows))
        self._sorted = lru_cache(max(1, KEPT // self.pool))(self._sort)

    def _sort(self, pool: int) -> Array:
        rows = np.asarray(self.rows[pool * self.pool : (pool + 1) * self.pool])
        return rows if self.lengths is None else rows[np.argsort(self.lengths[rows], kind="stable")]

    def __len__(self) -> int:
        return len(self.batches)

    @overload
    def __getitem__(self, at: int) -> Array: ...

    @overload
    def __getitem__(self, at: slice) -> list[Array]: ...

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        start = int(self.batches[at]) * self.size
        if self.lengths is None:
            return np.asarray(self.rows[start : start + self.size], np.int64)
        pool, inside = divmod(start, self.pool)
        return self._sorted(pool)[inside : inside + self.size]
