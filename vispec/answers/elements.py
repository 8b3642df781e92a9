"""Rows in, rows out: where a spec has no data plate and its data came as tables, answers are told element by element."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from vispec.answers.show import Aligned, Labels
from vispec.model.extent import first_plate
from vispec.model.model import Model
from vispec.train.scores.rows import Rows

SHARED = "(shared)"
Told = tuple[dict[str, Any], Aligned]


def beside(rows: Rows, batch: Mapping[str, Tensor], told: Sequence[dict[str, Any]]) -> list[Told]:
    """Answers with the data that they stand beside."""
    values = rows.values({name: value for name, value in batch.items() if name in rows.model.variable})
    return [(row, Aligned(rows.model, values[i] if values else {})) for i, row in enumerate(told)]


Keys = Mapping[str, Sequence[str | int]]
"""Of a long table, the column that keys its rows and their labels."""


def by_element(
    model: Model,
    tables: Sequence[str],
    found: Iterable[Told],
    labels: Labels,
    keys: Keys | None = None,
    unmet: Collection[int] = (),
) -> Iterator[Told]:
    """The answers as they are, those of a long table behind the keys of their rows; for a spec without a data plate all in one,
    or for each table an answer a row, behind what stands in none of them, under `(shared)`. tables: the plates whose elements
    were the rows of a table. unmet: rows that have no answer, as nothing is known of what they read."""
    if model.single is None:
        number = 0
        for row, aligned in found:
            own = {} if SHARED in row else {name: labels[number] for name, labels in (keys or {}).items() if name not in row}
            told = dict.fromkeys(row) if SHARED not in row and number in unmet else row
            number += SHARED not in row
            yield {**own, **told}, replace(aligned, labels=labels)
        return
    whole: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    for row, aligned in found:
        whole |= row.get(SHARED, row)
        beside |= aligned.values
    own = {plate: [name for name in whole if plate_of(model, name) == plate] for plate in tables}
    inside = {name for names in own.values() for name in names}
    rest = {name: value for name, value in whole.items() if name not in inside}
    if not inside:
        yield rest, Aligned(model, beside, labels=labels)
        return
    if rest:
        yield {SHARED: rest}, Aligned(model, {}, labels=labels)
    for plate, names in own.items():
        near = {name: value for name, value in beside.items() if first_plate(model, name) == plate}
        count = max(map(_length, (*(whole[name] for name in names), *near.values())), default=0)
        for i in range(count):
            row = {name: _element(whole[name], i - count + _length(whole[name])) for name in names}
            here = {name: value[i] for name, value in near.items() if i < len(value)}
            key = {name: labels[i] for name, labels in (keys or {}).items() if len(labels) == count and name not in row}
            yield (
                key | {name: value for name, value in row.items() if value is not None},
                Aligned(model, here, (plate,), labels),
            )


def plate_of(model: Model, name: str) -> str | None:
    """The outermost plate of a variable, or of one of its quantiles, `x_q05`."""
    return first_plate(model, name) or first_plate(model, re.sub(r"_q\d+$", "", name))


def _length(value: Any) -> int:
    return max(map(_length, value.values()), default=0) if isinstance(value, Mapping) else len(value)


def _element(value: Any, index: int) -> Any:
    """Of a list, or of each list of an object; None before the first, as pairs of neighbours begin with the second."""
    if index < 0:
        return None
    return {key: _element(item, index) for key, item in value.items()} if isinstance(value, Mapping) else value[index]
