"""Tables of Arrow as ours: nested lists are levels, a dictionary column is its values, in its order if it is an ordered one."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from vispec.train.data.arrow import pc
from vispec.train.data.columns import Column, Level, Origin, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.encoding.labels import label_of


def tabular(table: pa.Table, names: Sequence[str], origin: Origin) -> Table:
    """names: of all columns; those that the table lacks are of no use to anybody."""
    there = set(table.column_names)
    unread = pa.chunked_array([pa.nulls(origin.rows)])
    columns = {name: _column(name, table.column(name), origin) for name in names if name in there}
    return Table(columns | {name: Column(name, (), unread, origin) for name in names if name not in there}, origin)


def _column(name: str, values: pa.ChunkedArray, origin: Origin) -> Column:
    levels: list[Level] = []
    while _is_list(values.type):
        sizes = pc.fill_null(pc.list_value_length(values), -1)
        levels.append(sizes.to_numpy().astype("int64"))
        values = _flatten(values)
    order = None
    if pa.types.is_dictionary(values.type):
        if values.type.ordered and values.num_chunks:
            order = tuple(label_of(value) for value in values.unify_dictionaries().chunk(0).dictionary.to_pylist())
        values = values.cast(values.type.value_type)
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.large_string())
    if pa.types.is_temporal(values.type) and not pa.types.is_duration(values.type):
        values = values.cast(pa.large_string())
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    kind = values.type
    if not any(test(kind) for test in LEAVES):
        message = f"values of the type {kind} cannot be data"
        raise DataError(
            [DataDiagnostic("D131", message, origin.file, column=name, help="use numbers, booleans, text or lists of them")]
        )
    values = values.cast(pa.large_string()) if pa.types.is_string(kind) else values
    return Column(name, tuple(levels), values, origin, order=order)


def _flatten(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The elements of the lists, without those that stand under a missing list."""
    chunks = [pc.list_flatten(chunk) for chunk in values.chunks]
    return pa.chunked_array(chunks, values.type.value_type)


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


LEAVES = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_null,
)
