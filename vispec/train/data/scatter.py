"""Permutations of more numbers than are to be kept in memory, and than it takes no time to shuffle: each place is computed."""

from dataclasses import dataclass

import numpy as np

from vispec.train.data.columns import Array

ROUNDS = 6


@dataclass(frozen=True)
class Scattered:
    """A permutation of the numbers below `count`: a Feistel network on numbers of an even count of bits, gone through again
    where it leads past the end. keys: (ROUNDS,) uint64, random."""

    count: int
    keys: Array

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: slice) -> Array:
        found = self._through(np.arange(*at.indices(self.count), dtype=np.uint64))
        while (past := found >= self.count).any():
            found[past] = self._through(found[past])
        return found.astype(np.int64)

    def _through(self, numbers: Array) -> Array:
        half = np.uint64((max(2, (self.count - 1).bit_length()) + 1) // 2)
        mask = (np.uint64(1) << half) - np.uint64(1)
        left, right = numbers >> half, numbers & mask
        for key in self.keys:
            left, right = right, left ^ (_mixed(right + key) & mask)
        return (left << half) | right


def _mixed(numbers: Array) -> Array:
    """The finaliser of SplitMix64."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
