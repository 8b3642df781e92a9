"""Tables in the memory of this process, under names, by which they are read as files are by their paths (`files.holding`)."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.train.data.columns import DataFile, Origin, no_lines
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.files import Held
from vispec.train.data.readers import jsonl
from vispec.train.data.tabular import tabular

INDEX = "__index_level_"  # pandas' name for an index that has none


def held_table(table: pa.Table, kind: str) -> tuple[str, Held]:
    """A table under a name that is its own: it tells of the kind of object, the rows, and what they hold."""
    table = table.select([name for name in dict.fromkeys(table.column_names) if not name.startswith(INDEX)])
    sink = Digest()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), table.schema) as stream:
        stream.write_table(table)
    name = named(kind, table.num_rows, sink.hash.hexdigest())
    origin = Origin(((name, table.num_rows, no_lines),))
    return name, lambda request: tabular(table, table.column_names, origin)


def held_rows(rows: Sequence[Any], kind: str) -> tuple[str, Held]:
    """Rows as JSON has them, an object each."""
    try:
        text = "\n".join(json.dumps(row, default=bare) for row in rows).encode()
    except (TypeError, ValueError) as error:
        raise DataError([DataDiagnostic("D131", f"this is no data: {error}", f"<{kind}>", help=KINDS)]) from error
    name = named(kind, len(rows), hashlib.sha256(text).hexdigest())
    return name, lambda request: jsonl.read(DataFile(name, lambda: io.BytesIO(text)), request)


def held_columns(columns: Mapping[str, Any], kind: str) -> tuple[str, Held]:
    """Columns of equal length, or, where they are not, one row that has them whole."""
    sizes = {length(value) for value in columns.values()}
    if len(sizes) != 1 or None in sizes:
        return held_rows([dict(columns)], kind)
    arrays: dict[str, Any] = {}
    for name, value in columns.items():
        try:
            arrays[name] = as_arrow(value)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError([DataDiagnostic("D114", str(error), f"<{kind}>", column=name, help=KINDS)]) from error
    return held_table(pa.table(arrays), kind)


def named(kind: str, rows: int, digest: str) -> str:
    return f"<{kind} of {rows} row{'s' * (rows != 1)}, {digest[:12]}>"


KINDS = "a column holds numbers, booleans or text, or lists of them of one depth; None stands for a missing value"


def length(value: Any) -> int | None:
    """Of a column; None of a single value."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return None
    try:
        return len(value)
    except TypeError:  # an array without dimensions
        return None


def as_arrow(value: Any) -> Any:
    """A column: a series, an array (rows, ...) or a list."""
    if hasattr(value, "__arrow_c_stream__"):
        return pa.chunked_array(value)
    if not hasattr(value, "__array__"):
        return pa.array(list(value), from_pandas=True)
    return nested(np.asarray(value))


def nested(cells: np.ndarray[Any, Any]) -> Any:
    """An array as lists in lists, of which each dimension but the first is a depth."""
    flat: Any = pa.array(cells.reshape(-1).tolist() if cells.dtype.kind in "OU" else cells.reshape(-1), from_pandas=True)
    for size in reversed(cells.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


def bare(value: Any) -> Any:
    """What JSON has for an array or a number of NumPy or torch."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no number, text, boolean, or list of them")


class Digest(io.RawIOBase):
    """A file that keeps the hash of what is written to it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return len(data)
