"""What sums may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """work: the most terms (multiply-adds) for one row and sample. memory: the most bytes of one value for a row; None: any."""

    work: int = 10**9
    memory: int | None = None


def budget(work: int | None, memory: int | None) -> Budget:
    """With what is said of it."""
    return Budget(work or Budget.work, memory)
