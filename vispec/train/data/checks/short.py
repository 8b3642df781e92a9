"""Rows too short for an element that the model reads in every row, as `a[2]` of a list of two, or for a structure."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from vispec.model.model import Choice, Conditional, Const, Length, Model, Select
from vispec.model.walk import walk
from vispec.structures import fewest
from vispec.train.data.arrange import Arranged, Path
from vispec.train.data.columns import Array
from vispec.train.data.diagnostics import LIMIT, Problems

Fixed = tuple[str, str, int]
"""A variable, its plate, and which element of it is read."""


def check_short(model: Model, found: Mapping[Path, Array], arranged: Mapping[str, Arranged], problems: Problems) -> None:
    """D133 at every list that ends before an element which is read by its number, or that a structure has at least."""
    for name, plate, number in needed(model):
        path = next((path for path in found if path[-1] == plate), None)
        teller = next((a for a in arranged.values() if path is not None and a.layout.path[: len(path)] == path), None)
        if path is None or teller is None:
            continue
        short = np.flatnonzero(found[path] <= number)
        advice = f"`{name}[{number}] if |{name}| > {number} else ...` reads it where it is there"
        what = f"there is no `{name}[{number}]`: elements count from 0"
        if is_over(model, name, plate):
            what, advice = f"`{model.variable[name].type}` has {number + 1} elements at least", "leave such rows out"
        for i in short[:LIMIT]:
            message = f"{what}, and plate `{plate}` has {found[path][i]} here"
            teller.column.report(problems, "D133", message, len(path) - 1, int(i), advice)
        problems.more += max(0, len(short) - LIMIT)


def needed(model: Model) -> list[Fixed]:
    """What every row has to have."""
    parts = (model.variables, model.lets, model.guide, model.guide_lets)
    found = {read for part in parts for read in fixed_reads(part, model)}
    for variable in model.variables:
        if (least := fewest(variable.type.support)) and model.plate[str(variable.type.plate)].ragged:
            found.add((variable.name, str(variable.type.plate), least - 1))
    return sorted(found)


def is_over(model: Model, name: str, plate: str) -> bool:
    """Whether it is a structure over the plate, not something that is read there."""
    return name in model.variable and model.variable[name].type.plate == plate and fewest(model.variable[name].type.support) > 0


def fixed_reads(node: Any, model: Model, asked: frozenset[str] = frozenset()) -> Iterator[Fixed]:
    """Elements that are read by a number, where no condition asks how many there are. asked: plates of such conditions."""
    if isinstance(node, Conditional | Choice):
        asked |= {e.plate for e in walk(node.test) if isinstance(e, Length)}
    if isinstance(node, Select):
        numbers = [(plate, index.value) for plate, index in node.by if isinstance(index, Const)]
        yield from ((node.name, plate, int(k)) for plate, k in numbers if model.plate[plate].ragged and plate not in asked)
    if isinstance(node, tuple):
        parts = node
    else:
        parts = [getattr(node, field.name) for field in fields(node)] if is_dataclass(node) else ()
    for part in parts:
        yield from fixed_reads(part, model, asked)
