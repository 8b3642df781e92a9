"""What sums may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Budget:
    """work: the most terms (multiply-adds) for one row and sample. memory: the most bytes of one value for a row; None: any.
    sizes: what is told of vocabularies, by name."""

    work: int = 10**9
    memory: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


def budget(work: int | None, memory: int | None, sizes: Mapping[str, int] | None = None) -> Budget:
    """With what is said of it."""
    return Budget(work or Budget.work, memory, sizes or {})
