"""What sums may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict


@dataclass(frozen=True)
class Budget:
    """work: the most terms (multiply-adds) for one row and sample. memory: the most bytes of one value for a row; None: any.
    sizes: what is told of vocabularies, by name."""

    work: int = 10**9
    memory: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


class Limits(TypedDict, total=False):
    """What is said of a budget, by name."""

    memory: int | None
    work: int | None


def budget(work: int | None, memory: int | None, sizes: Mapping[str, int] | None = None) -> Budget:
    """With what is said of it."""
    return Budget(work or Budget.work, memory, sizes or {})
