"""Elimination steps, one ENTRY per file: its derivation, its cost, and the code that it becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class StepKind:
    """derivation(step) → a line of mathematics. sizes(step, model) → factors of its number of terms.

    emit(writer, step, inputs, query) → the output's Value. query: the step is part of a posterior query: sums are
    `total`'s, and each latent's tilt is added."""

    name: str
    derivation: Callable[..., str]
    emit: Callable[..., Any]


@cache
def steps() -> Mapping[str, StepKind]:
    """All step kinds, by name."""
    import vispec.emit.steps
    from vispec.catalog import discover

    return discover(vispec.emit.steps)
