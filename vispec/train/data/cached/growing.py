"""A vocabulary while it is being found: every word gets the next number, and is counted."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from vispec.train.data.columns import Array
from vispec.train.data.encoding.vocab import Vocabulary


class Growing(Vocabulary):
    """`tokens` are its symbols alone; words stand in `ids`."""

    @cached_property
    def ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def _counts(self) -> list[Array]:
        return [np.zeros(0, np.int64)]

    @property
    def counts(self) -> Array:
        """How often each has been met, by its number."""
        found = self._counts[0]
        return np.pad(found, (0, max(0, len(self) - len(found))))

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        words, ids = [*(map(str.lower, tokens) if self.lower else tokens)], self.ids
        numbers = [*map(ids.get, words)]  # most are known, and to ask for each twice takes twice as long
        return [ids.setdefault(words[i], len(ids)) if number is None else number for i, number in enumerate(numbers)]

    def count(self, numbers: Array) -> None:
        """They have been met once more each."""
        found = np.bincount(numbers.reshape(-1), minlength=len(self))
        found[: len(self._counts[0])] += self._counts[0]
        self._counts[0] = found
