"""Structures: sums over the values of many latents at once for which there is a recursion. One ENTRY a file."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from vispec.catalog import Option
from vispec.structures.entry import Group, StructureKind


@cache
def structures() -> Mapping[str, StructureKind]:
    """All structures, by name."""
    import vispec.structures
    from vispec.catalog import discover

    return discover(vispec.structures)


def recognising(group: Group) -> list[StructureKind]:
    """The structures that sum such latents."""
    return [entry for entry in structures().values() if entry.recognises(group)]


@cache
def domains() -> Mapping[str, Mapping[str, Option]]:
    """The domains of types that are structures, and what a law on each may say of its values: the options of all entries."""
    entries = [entry for entry in structures().values() if entry.domain]
    return {
        entry.domain: {n: o for each in entries if each.domain == entry.domain for n, o in each.options.items()}
        for entry in entries
    }


def fewest(support: str) -> int:
    """How many elements a value of a structure's type has at least, by what laws on it are on; 0 of other types."""
    return max((entry.fewest for entry in structures().values() if entry.domain and entry.domain == support), default=0)


def sums() -> Mapping[str, Callable[..., Any]]:
    """What the interpreter needs for its World: each structure's plain sum in float64, by name."""
    return {name: entry.log_sum for name, entry in structures().items()}
