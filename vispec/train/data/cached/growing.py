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
        ids = self.ids
        return [ids.setdefault(token, len(ids)) for token in (map(str.lower, tokens) if self.lower else tokens)]

    def count(self, numbers: Array) -> None:
        """They have been met once more each."""
        found = np.bincount(numbers.reshape(-1), minlength=len(self))
        found[: len(self._counts[0])] += self._counts[0]
        self._counts[0] = found
