"""Keys of a long table: in which element of each plate every row stands, and the labels of plates that all rows share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vispec.model.model import Model, Plate
from vispec.train.data.columns import Array, Column
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.categories import Raw, raw_column, shared_labels
from vispec.train.data.encoding.labels import group_of, in_order, is_coded, is_whole
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.data.matching.match import Matched
from vispec.train.data.sizes import Sizes

Labels = dict[str, tuple[str, ...] | None]


@dataclass(frozen=True)
class Keys:
    """In which element of each keyed plate every row stands, by plate: a code for each row, how many there are, and labels."""

    codes: Mapping[str, Array]
    counts: Mapping[str, int]
    raw: Mapping[str, Raw]
    names: Mapping[str, str]
    labels: Mapping[str, Sequence[str]]

    def label(self, plate: str, code: int) -> str:
        return self.labels[plate][code] if code < len(self.labels[plate]) else str(code)

    def told(self, row: int, plates: Sequence[str]) -> str:
        """`id` = A, `time` = 2: where a row stands."""
        return ", ".join(f"`{self.names[p]}` = {self.raw[p].labels[int(self.raw[p].indices[row])]}" for p in plates)


def is_shared(plate: Plate) -> bool:
    """Whether all rows have the same elements of a plate."""
    return not plate.data and not plate.ragged


def labels_of_keys(
    model: Model,
    matched: Matched,
    raws: Sequence[Mapping[str, Raw]],
    encoders: Encoders,
    training: bool,
    sizes: Sizes,
    problems: Problems,
) -> Labels:
    """Labels of each group that keys name: known ones, or those of the keys and of all variables that point there."""
    found: dict[str, list[Raw]] = {}
    cards: dict[str, tuple[str, int | str | None]] = {}
    for raw in raws:
        for name, labels in raw.items():
            plate = model.plate[name]
            if is_shared(plate):
                group = plate.size if isinstance(plate.size, str) else name
                found.setdefault(group, []).append(labels)
                cards[group] = (f"plate `{name}`", plate.size)
    out: Labels = {}
    for group, parts in found.items():
        if not training or group in encoders.labels:
            out[group] = encoders.labels.get(group)
            continue
        for name, column in matched.columns.items():
            variable = model.variable.get(name)
            if variable is not None and is_coded(model, variable.type) and group_of(model, variable) == group:
                parts.append(raw_column(column, problems))
        what, card = cards[group]
        out[group] = shared_labels(parts, what, card, sizes, problems)
        known = out[group]
        if known is not None and sizes.value(card) is None:
            sizes.learn(card, len(known), f"the keys of {what}")
    return out


def read_keys(
    model: Model, columns: Mapping[str, Column], raws: Mapping[str, Raw], labels: Labels, sizes: Sizes, problems: Problems
) -> Keys:
    codes: dict[str, Array] = {}
    counts: dict[str, int] = {}
    words: dict[str, Sequence[str]] = {}
    for name, raw in raws.items():
        plate, column = model.plate[name], columns[name]
        for row in np.flatnonzero(raw.indices < 0)[:1]:
            column.report(problems, "D137", f"the key of plate `{name}` is missing", 0, int(row))
        if is_shared(plate):
            group = plate.size if isinstance(plate.size, str) else name
            counts[name] = sizes.value(plate.size) or len(labels.get(group) or ())
            order = [_position(label, labels.get(group), counts[name]) for label in raw.labels]
            words[name] = labels.get(group) or ()
        else:
            words[name] = (column.order or in_order(raw.labels)) if plate.kind == "chain" else raw.labels
            rank = {label: i for i, label in enumerate(words[name])}
            counts[name] = len(rank)
            order = [rank[label] for label in raw.labels]
        code = np.array([*order, -1], np.int64)[raw.indices]
        for row in np.flatnonzero((code < 0) & (raw.indices >= 0))[:1]:
            told = raw.labels[int(raw.indices[row])]
            column.report(
                problems, "D124", f"plate `{name}` has no element {told!r}", 0, int(row), _known(labels, plate, counts[name])
            )
        codes[name] = code
    return Keys(codes, counts, raws, {name: column.label for name, column in columns.items()}, words)


def _position(label: str, known: Sequence[str] | None, count: int) -> int:
    if known is not None:
        return known.index(label) if label in known else -1
    return int(label) if is_whole(label) and len(label) < 10 and 0 <= int(label) < count else -1


def _known(labels: Labels, plate: Plate, count: int) -> str:
    known = labels.get(plate.size if isinstance(plate.size, str) else plate.name)
    return f"there are {', '.join(known[:8])}" + (", ..." if len(known) > 8 else "") if known else f"they are 0 to {count - 1}"
