"""`--drop-missing`: rows left out in which a value is missing that must be there, and how many there are."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from vispec.model.model import Model
from vispec.train.data.arrow import pc
from vispec.train.data.columns import Array, Column, lengths, select, total
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.encoding.tokens import indices_of
from vispec.train.data.encoding.values import MISSING, clean_words, is_text, null_mask
from vispec.train.data.matching.match import Matched


def drop_missing(model: Model, matched: Matched) -> tuple[Matched, str]:
    """The columns without such rows, and a line that counts them, "" where there are none."""
    needed = {name: c for name, c in matched.columns.items() if _counts(model, name)}
    rows = {name: _missing(column, _is_text_itself(model, name), _event(model, name)) for name, column in needed.items()}
    rows |= {f"key `{c.label}`": _missing(c, False, 0) for c in matched.keys.values()}
    count = next((len(mask) for mask in rows.values()), 0)
    rows = {name: mask for name, mask in rows.items() if len(mask) == count}
    gone = np.any([*rows.values()], axis=0) if rows else np.zeros(0, bool)
    if not gone.any():
        return matched, ""
    file = next(iter(matched.columns.values())).origin.file
    parts = ", ".join(f"{name} in {int(mask.sum())}" for name, mask in rows.items() if mask.any())
    line = f"{file}: {int(gone.sum())} of {count} rows are left out, in which a value is missing ({parts})"
    if gone.all():
        raise DataError([DataDiagnostic("D102", f"no row is whole ({parts})", file)])
    kept = np.flatnonzero(~gone)

    def taken(column: Column) -> Column:
        if column.origin.rows != count:
            return column
        return replace(select(column, kept), origin=column.origin.of(kept))

    columns = {name: taken(c) if _varies(model, name) else c for name, c in matched.columns.items()}
    keys = {plate: taken(column) for plate, column in matched.keys.items()}
    origin = None if matched.origin is None else matched.origin.of(kept)
    return replace(matched, columns=columns, keys=keys, origin=origin), line


def _varies(model: Model, name: str) -> bool:
    """Whether rows of the data plate have values of their own; in a spec without one, rows of a table are elements."""
    variable = model.variable.get(name)
    return variable is None or model.single is not None or any(model.plate[plate].data for plate in variable.plates)


def _counts(model: Model, name: str) -> bool:
    """Whether a row may be one that cannot be read: of a partial vector some entries may be missing, and others not."""
    variable = model.variable.get(name)
    return variable is not None and (variable.role != "partial" or bool(variable.type.stored)) and _varies(model, name)


def _event(model: Model, name: str) -> int:
    """Of a partial variable the axes of an element, which is missing as a whole or not at all."""
    variable = model.variable[name]
    return len(variable.type.stored) if variable.role == "partial" else 0


def _is_text_itself(model: Model, name: str) -> bool:
    """Whether text such as NA, or none at all, is a value."""
    return model.variable[name].type.domain == "token"


def _missing(column: Column, words: bool, event: int) -> Array:
    """In which rows a value is missing; with event axes, in which some values of one element are, and others not."""
    owner, count = np.arange(column.origin.rows), column.origin.rows
    gone, element = np.zeros(count, bool), owner
    for depth, level in enumerate(column.levels):
        each = lengths(level, count)
        if not event:
            gone[owner[each < 0]] = True
        if depth == len(column.levels) - event:
            element = np.arange(count)
        many = np.maximum(each, 0)
        owner, element, count = np.repeat(owner, many), np.repeat(element, many), total(level, count)
    values = column.values
    if is_text(values) and not words:
        marks = pc.is_in(pc.ascii_trim_whitespace(values), value_set=pa.array(MISSING, values.type))
        absent = pc.fill_null(marks, True).to_numpy()
    elif pa.types.is_dictionary(values.type):
        distinct, indices = indices_of(values)
        absent = np.array([word is None for word in clean_words(distinct)] + [True])[indices]
    elif pa.types.is_floating(values.type):
        absent = pc.fill_null(pc.is_nan(values), True).to_numpy()
    else:
        absent = null_mask(values)
    if event and count:
        lost, whole = np.bincount(element, absent), np.bincount(element)
        absent = ((lost > 0) & (lost < whole))[element]
    gone[owner[absent]] = True
    return gone
