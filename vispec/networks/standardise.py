"""standardise: each number less its mean over the data, divided by its standard deviation there; it learns nothing else.

`standardise(y)` does so to one of the net's inputs, `standardise(y, seen=y_seen)` by those of its numbers that are there: what
is missing becomes 0."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import Network, Option

if TYPE_CHECKING:
    from vispec.torch.nets.stream import Part, Stream


def standardise(stream: Stream, of: str | None, seen: str | None) -> None:
    """The part of one input, or every part that holds numbers; those that are still integers or counts stay as they are."""
    chosen = [of in (None, part.arg) and is_numbers(part) for part in stream.parts]
    there = next((stream.vector(part).text for part in stream.parts if part.arg == seen and seen is not None), None)
    alone = sum(chosen) == 1 and of is None
    stream.parts = [
        scaled(stream, i, part, alone, there) if own else part
        for i, (part, own) in enumerate(zip(stream.parts, chosen, strict=True))
    ]


def is_numbers(part: Part) -> bool:
    return part.card is None and not part.counted


def scaled(stream: Stream, number: int, part: Part, alone: bool, seen: str | None) -> Part:
    part = stream.vector(part)
    hint = "standardise" if alone or not part.arg else f"standardise_{part.arg}"
    module = stream.module(f"{stream.kernel('standardise', 'Standardise')}({part.width})", hint, role=number)
    mask = f", {stream.mask}" if part.sequence and stream.mask != "None" and not stream.prefixes else ""
    there = f", seen={seen}" if seen is not None else ""
    return stream.held(replace(part, text=f"{module}({part.text}{mask}{there})"))


ENTRY = Network("standardise", standardise, {"of": Option("argument"), "seen": Option("argument")}, learns=True, linear=True)
