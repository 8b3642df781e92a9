"""Parquet: nested lists are levels, a dictionary column is its values, in its order if it is an ordered one."""

import pyarrow as pa
import pyarrow.parquet as pq

from vispec.train.data.columns import DataFile, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.files import whole
from vispec.train.data.tabular import tabular


def read(file: DataFile, request: Request) -> Table:
    data = whole(file)
    try:
        parquet = pq.ParquetFile(data)
        names = parquet.schema_arrow.names
        wanted = [name for name in names if request.keep(name)]
        repeated = sorted({name for name in wanted if names.count(name) > 1})
        if repeated:
            raise DataError([DataDiagnostic("D108", "several columns have this name", file.name, column=repeated[0])])
        table = parquet.read(wanted, use_threads=False)
        table.validate(full=True)
        rows = parquet.metadata.num_rows
        if wanted and table.num_rows != rows:
            raise ValueError(f"it has {table.num_rows} rows where {rows} are promised")
    except (pa.ArrowException, OSError, ValueError, MemoryError, KeyError, OverflowError) as error:
        reason = str(error).split("\n")[0]
        raise DataError([DataDiagnostic("D105", f"this is not a Parquet file that can be read: {reason}", file.name)]) from None
    return tabular(table, names, file.origin(rows))


ENTRY = Reader("parquet", (".parquet", ".pq"), read, binary=True)
