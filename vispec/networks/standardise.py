"""standardise: each number less its mean over the data, divided by its standard deviation there; it learns nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import Network

if TYPE_CHECKING:
    from vispec.emit.nets.stream import Part, Stream


def standardise(stream: Stream) -> None:
    """Every part that holds numbers; those that are still integers or counts stay as they are."""
    alone = sum(is_numbers(part) for part in stream.parts) == 1
    stream.parts = [scaled(stream, i, part, alone) if is_numbers(part) else part for i, part in enumerate(stream.parts)]


def is_numbers(part: Part) -> bool:
    return part.card is None and not part.counted


def scaled(stream: Stream, number: int, part: Part, alone: bool) -> Part:
    part = stream.vector(part)
    hint = "standardise" if alone or not part.arg else f"standardise_{part.arg}"
    module = stream.module(f"{stream.kernel('standardise', 'Standardise')}({part.width})", hint, role=number)
    mask = f", {stream.mask}" if part.sequence and stream.mask != "None" and not stream.prefixes else ""
    return stream.held(replace(part, text=f"{module}({part.text}{mask})"))


ENTRY = Network("standardise", standardise, learns=True, linear=True)
