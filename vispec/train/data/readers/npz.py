"""NumPy's .npz, never pickles: an array is a column, its first dimension the rows.

Two layouts are recognised by their names, each a column without a name: `indptr`, `indices`, `counts` are sparse rows of
counts, read as `counts` copies of each index (words from an array `vocab`, if there is one); `packed` is eight bits to a byte.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.train.data.columns import Column, DataFile, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.files import whole

Array = np.ndarray[Any, Any]
SPARSE = "indptr/indices/counts"
PACKED = "packed"
COPIES = 16  # bytes that one token takes while it is read
SPECIAL = ("indptr", "indices", "counts", "vocab", PACKED)


def read(file: DataFile, request: Request) -> Table:
    arrays, others = _arrays(file, request)
    if {"indptr", "indices"} <= arrays.keys():
        column = _sparse(file, arrays)
        return Table({SPARSE: column}, column.origin)
    if not arrays:
        raise DataError([DataDiagnostic("D102", "the file holds no array with rows", file.name)])
    if len(arrays) == 1 and not others and PACKED in arrays:
        return _packed(file, arrays[PACKED])
    if request.single:
        return _whole(file, arrays, others)
    first = next((name for name in arrays if request.keep(name)), next(iter(arrays)))
    rows = len(arrays[first])
    origin = file.origin(rows)
    columns: dict[str, Column] = {}
    for name, array in arrays.items():
        if len(array) == rows:
            columns[name] = Column(name, array.shape[1:], _values(file, name, array), origin)
        elif request.keep(name):
            message = f"the array has {len(array)} rows, `{first}` has {rows}"
            raise DataError([DataDiagnostic("D113", message, file.name, column=name)])
    unread = pa.chunked_array([pa.nulls(rows)])
    return Table(columns | {name: Column(name, (), unread, origin) for name in others}, origin)


def _arrays(file: DataFile, request: Request) -> tuple[Mapping[str, Array], list[str]]:
    """The arrays that can be of use and have rows (all, if none can), and the names of the others.

    A broken archive makes zipfile, zlib and NumPy raise nearly anything, hence the wide net.
    """
    data = whole(file)
    try:
        with np.load(data, allow_pickle=False) as archive:
            names = [name for name in archive.files if request.keep(name) or name in SPECIAL] or archive.files
            arrays = {name: archive[name] for name in names}
            strange = next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), None)
            if strange is not None:
                raise ValueError(f"its member `{strange}` is no array")
            others = [name for name in archive.files if name not in names]
    except MemoryError:
        raise
    except Exception as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            message = "the file holds Python objects, which can run code when read and are refused"
            advice = "save plain arrays of numbers or of fixed-width text (dtype U)"
            raise DataError([DataDiagnostic("D106", message, file.name, help=advice)]) from None
        message = (
            f"this is not an .npz file that can be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        )
        raise DataError([DataDiagnostic("D105", message, file.name)]) from None
    return {name: array for name, array in arrays.items() if array.ndim or request.single}, others


def _whole(file: DataFile, arrays: Mapping[str, Array], others: list[str]) -> Table:
    """One row, which each array holds whole."""
    origin = file.origin(1)
    columns = {name: Column(name, array.shape, _values(file, name, array), origin) for name, array in arrays.items()}
    return Table(columns | {name: Column(name, (), pa.chunked_array([pa.nulls(1)]), origin) for name in others}, origin)


def _values(file: DataFile, name: str, array: Array) -> pa.ChunkedArray:
    """The array, flat, as Arrow values (no copy where it lies flat already)."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind == "U":
        return pa.chunked_array([_text(file, name, flat)])
    if flat.dtype.kind not in "biuf" or flat.dtype.itemsize > 8:
        message = f"an array of the type {flat.dtype} cannot be data"
        raise DataError([DataDiagnostic("D131", message, file.name, column=name)])
    native = flat.astype(np.float32) if flat.dtype == np.float16 else flat.astype(flat.dtype.newbyteorder("="), copy=False)
    return pa.chunked_array([pa.array(native)])


def _text(file: DataFile, name: str, flat: Array) -> pa.Array:
    try:
        text = pa.array(flat.tolist(), pa.large_string())
        text.validate(full=True)  # NumPy lets code points through that Unicode has not
        return text
    except (UnicodeEncodeError, ValueError):
        raise DataError([DataDiagnostic("D105", "the text is not Unicode", file.name, column=name)]) from None


def _packed(file: DataFile, packed: Array) -> Table:
    if packed.dtype != np.uint8 or packed.ndim != 2:
        message = f"`packed` is {packed.dtype} of {packed.ndim} dimensions; eight bits to a byte is uint8 of 2"
        raise DataError([DataDiagnostic("D131", message, file.name, column=PACKED)])
    origin = file.origin(len(packed))
    bits = np.unpackbits(packed, axis=1)
    column = Column(PACKED, (bits.shape[1],), pa.chunked_array([pa.array(bits.reshape(-1))]), origin, anonymous=True)
    return Table({PACKED: column}, origin)


def _sparse(file: DataFile, arrays: Mapping[str, Array]) -> Column:
    """A ragged list of indices a row, each as often as its count says."""
    parts = {name: arrays[name] for name in ("indptr", "indices", "counts") if name in arrays}
    for name, array in parts.items():
        if array.ndim != 1 or array.dtype.kind not in "iu":
            message = f"`{name}` of sparse rows is a vector of integers, this is {array.dtype} of {array.ndim} dimensions"
            raise DataError([DataDiagnostic("D131", message, file.name, column=name)])
    bounds, indices = parts["indptr"].astype(np.int64), parts["indices"].astype(np.int64)
    counts = parts.get("counts", np.ones(len(indices))).astype(np.int64)
    level, tokens = copies(file, bounds, indices, counts)
    values = pa.array(tokens.astype(np.int32) if len(tokens) and tokens.max() < 2**31 else tokens)
    if "vocab" in arrays and arrays["vocab"].dtype.kind == "U" and arrays["vocab"].ndim == 1:
        values = _words(file, arrays["vocab"], values)
    origin = file.origin(len(bounds) - 1)
    return Column(SPARSE, (level,), pa.chunked_array([values]), origin, anonymous=True)


def copies(file: DataFile, bounds: Array, indices: Array, counts: Array) -> tuple[Array, Array]:
    """Each index as often as it is counted, and how many that makes in each row, which is from bounds[row] to the next."""
    _check_sparse(file, bounds, indices, counts)
    running = np.concatenate(([0], np.cumsum(counts)))
    try:
        return np.diff(running[bounds]), np.repeat(indices, counts)
    except MemoryError:
        raise too_many(file, int(counts.sum())) from None


def _check_sparse(file: DataFile, bounds: Array, indices: Array, counts: Array) -> None:
    def fail(message: str, column: str, row: int | None = None) -> None:
        raise DataError([DataDiagnostic("D132", message, file.name, row, column)])

    if len(bounds) == 0 or bounds[0] != 0 or bounds[-1] != len(indices):
        fail(f"`indptr` runs from 0 to the number of indices ({len(indices)}), and this one does not", "indptr")
    falling = np.flatnonzero(np.diff(bounds) < 0)
    if len(falling):
        fail("`indptr` falls", "indptr", int(falling[0]) + 1)
    if len(counts) != len(indices):
        fail(f"there are {len(counts)} counts for {len(indices)} indices", "counts")
    for name, array in (("indices", indices), ("counts", counts)):
        negative = np.flatnonzero(array < 0)
        if len(negative):
            row = int(np.searchsorted(bounds, negative[0], "right"))
            fail(f"{array[negative[0]]} is negative", name, row)
    tokens = float(counts.astype(np.float64).sum())
    if tokens >= 2**31 or tokens * COPIES > memory():
        raise too_many(file, int(tokens))


def memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def too_many(file: DataFile, tokens: int) -> DataError:
    message = f"the counts sum to {tokens} tokens, more than fit in memory"
    return DataError([DataDiagnostic("D132", message, file.name, column="counts")])


def _words(file: DataFile, vocab: Array, values: pa.Array) -> pa.Array:
    top = int(np.max(values.to_numpy(), initial=-1))
    if top >= len(vocab):
        message = f"index {top} is past the {len(vocab)} words of `vocab`"
        raise DataError([DataDiagnostic("D132", message, file.name, column="indices")])
    return _text(file, "vocab", vocab).take(values)


ENTRY = Reader("npz", (".npz",), read, binary=True)
