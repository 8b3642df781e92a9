"""Sizes while data is read: those the spec and the user gave, and those the data tells."""

from collections.abc import Mapping

from vispec.model.dims import evaluate
from vispec.model.model import Model
from vispec.model.types import Dim


class Sizes:
    """Known sizes by name. `why` says for each learnt one what told it."""

    def __init__(self, model: Model, given: Mapping[str, int]):
        self.names = tuple(size.name for size in model.sizes) + tuple(vocab.name for vocab in model.vocabs)
        self.known: dict[str, int] = {size.name: size.value for size in model.sizes if size.value is not None}
        self.known |= given
        self.why: dict[str, str] = {}
        self._open: list[tuple[str, int, str]] = []

    def value(self, dim: Dim | None) -> int | None:
        """A size as a number; None while it is unknown."""
        return None if dim is None else evaluate(dim, self.known)

    def learn(self, dim: Dim | None, value: int, why: str) -> bool:
        """Take `value` for a size that is a name still unknown. False where the size is known to be another number."""
        known = self.value(dim)
        if known is None and isinstance(dim, str):
            if dim.isidentifier():
                self.known[dim] = value
                self.why[dim] = why
            else:
                self._open.append((dim, value, why))
        return known is None or known == value

    def broken(self) -> list[tuple[str, int, str]]:
        """Sizes such as 2 * Z that data told before Z was known, and that came out otherwise: (size, what data has, where)."""
        return [(dim, value, why) for dim, value, why in self._open if self.value(dim) != value]

    def origin(self, dim: Dim | None) -> str:
        """Where a known size comes from, for messages."""
        if isinstance(dim, str):
            return f"{dim} = {self.value(dim)}" + (f", from {self.why[dim]}" if dim in self.why else "")
        return str(dim)
