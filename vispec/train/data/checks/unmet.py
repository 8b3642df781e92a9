"""Elements of parameters that no row of the training data meets: they stay where they start, so they have no value.

Only parameters whose every reading is by values of the data, as `u[school, room]`; others are met by every row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vispec.model.model import Element, Expression, Model, Ref, Select
from vispec.model.problems import listed
from vispec.model.walk import law_parts, read_values, walk
from vispec.train.data.arrange import Arranged, Path
from vispec.train.data.columns import Array
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.encode import Field
from vispec.train.data.encoding.labels import group_of, is_coded
from vispec.train.data.encoding.values import report_all
from vispec.train.data.encoding.vocab import Encoders, Unmet
from vispec.train.data.sizes import Sizes

LARGEST = 10**6  # elements of a parameter of which it is known which ones were met
SHOWN = 5


@dataclass(frozen=True)
class Reading:
    """A parameter read at the values of these variables."""

    param: str
    by: tuple[str, ...]

    def told(self, labels: Sequence[str | int]) -> str:
        return f"{self.param}[{', '.join(map(str, labels))}]"


def readings(model: Model) -> list[Reading]:
    """The readings of each parameter that is read by values of the data alone, each once."""
    found: dict[str, dict[tuple[str, ...], tuple[str, ...] | None]] = {}
    laws = [part for v in model.variables if v.law is not None for part in law_parts(v.law)]
    for expression in (*laws, *read_values(model), *(let.value for let in model.guide_lets)):
        for name, plates, by in _reads(model, expression):
            found.setdefault(name, {})[(*plates, "by", *(by or ()))] = by
    good: list[Reading] = []
    for name, ways in found.items():
        plates = {way[: way.index("by")] for way in ways}
        if len(plates) == 1 and None not in ways.values() and name not in model.fixed:
            good += [Reading(name, by) for by in ways.values() if by]
    return good


def _reads(model: Model, expression: Expression) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...] | None]]:
    """Each parameter that is read, the plates in which an element is chosen ("" of a vector's entries), and the variables whose
    values choose it; None where others choose too."""
    inside: set[int] = set()
    for node in walk(expression):
        base = node.base if isinstance(node, Element) else node
        name = getattr(base, "name", None)
        if not isinstance(name, str) or name not in model.param or (base is node and id(node) in inside):
            continue
        chosen = [*(base.by if isinstance(base, Select) else ()), *([("", node.at)] if isinstance(node, Element) else ())]
        inside.add(id(base))
        offset = model.param[name].type.low is not None
        yield name, tuple(plate for plate, _ in chosen), None if offset else _by(model, [index for _, index in chosen])


def _by(model: Model, indices: Sequence[Expression]) -> tuple[str, ...] | None:
    names = [index.name for index in indices if isinstance(index, Ref)]
    known = [model.variable[name] for name in names if name in model.variable]
    good = len(known) == len(indices) > 0 and all(v.role != "latent" and is_coded(model, v.type) for v in known)
    return tuple(names) if good else None


@dataclass(frozen=True)
class Codes:
    """Which element each place of the data reads, -1 where an index is missing; the column of the deepest index."""

    values: Array
    sizes: tuple[int, ...]
    teller: Arranged


def codes_of(
    reading: Reading,
    model: Model,
    fields: Mapping[str, Field],
    arranged: Mapping[str, Arranged],
    found: Mapping[Path, Array],
    sizes: Sizes,
) -> Codes | None:
    """None where the indices stand in different plates, or the parameter is too large."""
    if any(name not in fields for name in reading.by):
        return None
    deepest = max(reading.by, key=lambda name: len(_plates(arranged[name])))
    counts = [_count(model, name, sizes) for name in reading.by]
    if np.prod(counts, dtype=float) > LARGEST or len({fields[name].rows for name in reading.by}) > 1:
        return None
    parts = [_spread(fields[name], arranged[name], arranged[deepest], found) for name in reading.by]
    if any(part is None for part in parts):
        return None
    whole = np.broadcast_shapes(*(part.shape for part in parts if part is not None))
    code = np.ravel_multi_index([np.broadcast_to(np.maximum(p, 0), whole) for p in parts if p is not None], counts)
    missing = np.any([np.broadcast_to(part < 0, whole) for part in parts if part is not None], axis=0)
    return Codes(np.where(missing, -1, code).reshape(-1), tuple(counts), arranged[deepest])


def _plates(a: Arranged) -> tuple[str, ...]:
    return (*a.layout.path, *(axis.plate for axis in a.layout.tail if axis.plate is not None))


def _count(model: Model, name: str, sizes: Sizes) -> int:
    type_ = model.variable[name].type
    return sizes.value(type_.card if type_.domain == "category" else model.plate[type_.plate or ""].size) or 1


def _spread(field: Field, own: Arranged, deepest: Arranged, found: Mapping[Path, Array]) -> Array | None:
    """A variable's values at the elements of a deeper one, -1 where they are missing; None where its plates are not the first
    ones of the other's."""
    inner, outer = _plates(deepest), _plates(own)
    if inner[: len(outer)] != outer or (field.path != deepest.layout.path and own.layout.tail):
        return None
    values: Array = field.values if field.observed is None else np.where(field.observed, field.values, -1)
    for depth in range(len(field.path), len(deepest.layout.path)):
        values = np.repeat(values, found[deepest.layout.path[: depth + 1]], axis=0)
    return values.reshape(*values.shape, *(1,) * (len(inner) - len(deepest.layout.path) - (values.ndim - 1)))


def find_unmet(
    model: Model,
    fields: Mapping[str, Field],
    arranged: Mapping[str, Arranged],
    found: Mapping[Path, Array],
    encoders: Encoders,
    sizes: Sizes,
    problems: Problems,
) -> tuple[Unmet, ...]:
    """Of the training data; a warning names the first ones of each parameter."""
    met: dict[str, list[tuple[Reading, Codes]]] = {}
    for reading in readings(model):
        codes = codes_of(reading, model, fields, arranged, found, sizes)
        if codes is not None:
            met.setdefault(reading.param, []).append((reading, codes))
    out: list[Unmet] = []
    for read in met.values():
        reading, codes = read[0]
        seen = np.unique(np.concatenate([each.values for _, each in read]))
        absent = tuple(np.setdiff1d(np.arange(int(np.prod(codes.sizes))), seen).tolist())
        if absent:
            out += [Unmet(each.param, each.by, codes.sizes, absent) for each, _ in read]
            names = [_told(reading, model, encoders, codes.sizes, code) for code in absent[:SHOWN]]
            more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
            stay = "they stay where they start" if absent[1:] else "it stays where it starts"
            fact = f"no row meets {listed(names)}{more}: {stay}"
            problems.warn("D197", fact, codes.teller.column.origin.file)
    return tuple(out)


def _told(reading: Reading, model: Model, encoders: Encoders, sizes: Sequence[int], code: int) -> str:
    """An element by the labels of its indices."""
    at: Any = np.unravel_index(code, tuple(sizes))
    labels = [encoders.labels.get(group_of(model, model.variable[name])) for name in reading.by]
    return reading.told([int(i) if known is None else known[int(i)] for known, i in zip(labels, at, strict=True)])


def check_unmet(
    model: Model,
    fields: Mapping[str, Field],
    arranged: Mapping[str, Arranged],
    found: Mapping[Path, Array],
    encoders: Encoders,
    sizes: Sizes,
    problems: Problems,
    spare: bool,
) -> frozenset[int]:
    """D136 where data read an element that the training data did not meet; spare: a warning, and these rows, where there are
    any."""
    rows = set[int]()
    for unmet in encoders.unmet:
        reading = Reading(unmet.param, unmet.by)
        codes = codes_of(reading, model, fields, arranged, found, sizes)
        if codes is None or codes.sizes != unmet.sizes:
            continue
        bad, column = np.isin(codes.values, unmet.elements), codes.teller.column
        if spare and model.single is None:
            own = {column.locate(len(column.levels), int(i))[0] for i in np.flatnonzero(bad)}
            met = [_told(reading, model, encoders, codes.sizes, int(code)) for code in np.unique(codes.values[bad])[:SHOWN]]
            if own - rows:
                told = f"{len(own)} rows here have no value" if len(own) > 1 else "1 row here has no value"
                problems.warn("D136", f"{listed(met)} met no row of the training data: {told}", column.origin.file)
            rows |= own
            continue
        report_all(
            column,
            problems,
            "D136",
            bad,
            lambda i, reading=reading, codes=codes: (
                f"`{_told(reading, model, encoders, codes.sizes, int(codes.values[i]))}` met no row of the training data, "
                "so it has no value"
            ),
            "leave these rows out, or fit again with data that have such a row",
        )
    return frozenset(rows)
