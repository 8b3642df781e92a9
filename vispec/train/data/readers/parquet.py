"""Parquet: nested lists are levels, a dictionary column is its values, in its order if it is an ordered one.

Arrow's reader is imported when a file is read: all extensions have their readers before."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from vispec.train.data.columns import DataFile, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.files import whole
from vispec.train.data.tabular import tabular

if TYPE_CHECKING:
    import pyarrow.parquet as pq

PART = 1 << 23  # bytes of values that become a block, about
BUFFER = 1 << 20  # bytes read at once


def read(file: DataFile, request: Request) -> Table:
    from pyarrow.parquet import ParquetFile

    data = whole(file)
    with _readable(file):
        parquet = ParquetFile(data)
        names, wanted = _names(parquet, file, request)
        table = parquet.read(wanted, use_threads=False)
        table.validate(full=True)
        rows = parquet.metadata.num_rows
        if wanted and table.num_rows != rows:
            raise ValueError(f"it has {table.num_rows} rows where {rows} are promised")
    return tabular(table, names, file.origin(rows))


def blocks(file: DataFile, request: Request) -> Iterator[Table]:
    """The same, some rows at a time, whatever groups of rows the file has."""
    from pyarrow.parquet import ParquetFile

    first = 0
    with file.open() as stream, _readable(file):
        parquet = ParquetFile(stream, buffer_size=BUFFER)
        names, wanted = _names(parquet, file, request)
        rows, size = parquet.metadata.num_rows, _bytes(parquet.metadata)
        many = max(1, rows * PART // max(size, 1))
        for groups in _together(parquet.metadata):  # what is read of groups stays in memory until the last of them is through
            for batch in parquet.iter_batches(many, groups, columns=wanted, use_threads=False):
                batch.validate(full=True)
                yield tabular(pa.Table.from_batches([batch]), names, file.part(first, batch.num_rows))
                first += batch.num_rows
        if wanted and first != rows:
            raise ValueError(f"it has {first} rows where {rows} are promised")


def _bytes(metadata: "pq.FileMetaData") -> int:
    """What all values take, about."""
    return sum(map(_group_bytes, map(metadata.row_group, range(metadata.num_row_groups))))


def _group_bytes(group: "pq.RowGroupMetaData") -> int:
    """As they are stored, or as numbers, which runs and dictionaries may store in far less."""
    columns = map(group.column, range(group.num_columns))
    return sum(max(column.total_uncompressed_size, 8 * column.num_values) for column in columns)


def _together(metadata: "pq.FileMetaData") -> Iterator[list[int]]:
    """Groups of rows that are read as one: as many as make a block."""
    found, size = list[int](), 0
    for at in range(metadata.num_row_groups):
        found.append(at)
        size += _group_bytes(metadata.row_group(at))
        if size >= PART:
            yield found
            found, size = [], 0
    if found or not metadata.num_row_groups:
        yield found


@contextmanager
def _readable(file: DataFile) -> Iterator[None]:
    """Within, what Arrow cannot read is a DataError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError, KeyError, OverflowError) as error:
        reason = str(error).split("\n")[0]
        raise DataError([DataDiagnostic("D105", f"this is not a Parquet file that can be read: {reason}", file.name)]) from None


def _names(parquet: "pq.ParquetFile", file: DataFile, request: Request) -> tuple[list[str], list[str]]:
    """All columns, and those that can be of use."""
    names = parquet.schema_arrow.names
    wanted = [name for name in names if request.keep(name)]
    repeated = sorted({name for name in wanted if names.count(name) > 1})
    if repeated:
        raise DataError([DataDiagnostic("D108", "several columns have this name", file.name, column=repeated[0])])
    return names, wanted


ENTRY = Reader("parquet", (".parquet", ".pq"), read, binary=True, blocks=blocks)
