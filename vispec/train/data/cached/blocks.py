"""Files as blocks of rows, in which those of several files that stand side by side are as many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from vispec.train.data.columns import Request, Table, between
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.files import read_blocks

Block = dict[str, Table]
"""Tables of as many rows, by the files that they are of."""


@dataclass
class Stream:
    """The files of a variable, or of a table of several ("" for its name), one behind another."""

    name: str
    paths: Sequence[str]
    request: Request

    def __post_init__(self) -> None:
        self.left: tuple[str, Table] | None = None
        self.rows = 0
        self.kinds: dict[str, pa.DataType] = {}

    def __iter__(self) -> Iterator[tuple[str, Table]]:
        for path in self.paths:
            for table in read_blocks(path, self.request):
                self._compare(table)
                yield path, table

    def argument(self, path: str) -> str:
        """What stands for one of the files on a command line."""
        return f"{self.name}={path}" if self.name else path

    def _compare(self, table: Table) -> None:
        """Columns hold values of one kind from the first block to the last."""
        for name, column in table.columns.items():
            kind = column.values.type
            known = self.kinds.get(name)
            if pa.types.is_null(kind):
                continue
            if known is not None and kind != known and not (_is_number(kind) and _is_number(known)):
                file, row, line = table.origin.locate(0)
                message = f"the values from here on are {kind}, those before {known}"
                raise DataError([DataDiagnostic("D114", message, file, row, name, "all rows hold values of one kind", line)])
            self.kinds[name] = kind


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def aligned(streams: Sequence[Stream]) -> Iterator[tuple[list[str], Block]]:
    """Blocks of rows of all streams, with the arguments that stand for them; DataError where one ends before another."""
    feeds = [iter(stream) for stream in streams]
    while True:
        for stream, feed in zip(streams, feeds, strict=True):
            stream.left = stream.left or next(feed, None)
        heads = [stream.left for stream in streams if stream.left is not None]
        if not heads:
            return
        if len(heads) < len(streams):
            _uneven(streams)
        count = min(table.origin.rows for _, table in heads)
        for stream, (path, table) in zip(streams, heads, strict=True):
            rest = table.origin.rows - count
            stream.left = (path, part(table, count, count + rest)) if rest else None
            stream.rows += count
        yield (
            [stream.argument(path) for stream, (path, _) in zip(streams, heads, strict=True)],
            {path: part(table, 0, count) if table.origin.rows > count else table for path, table in heads},
        )


def _uneven(streams: Sequence[Stream]) -> None:
    short = next(stream for stream in streams if stream.left is None)
    long, _ = next(stream.left for stream in streams if stream.left is not None)
    name = f" for `{short.name}`" if short.name else ""
    message = f"there are {short.rows} rows{name}, but {long} has more"
    help = "aligned files have the same number of rows"
    raise DataError([DataDiagnostic("D113", message, short.paths[-1], help=help)])


def part(table: Table, first: int, stop: int) -> Table:
    """Some of its rows."""
    origin = table.origin.of(np.arange(first, stop))
    return replace(table, columns={n: between(c, first, stop, origin) for n, c in table.columns.items()}, origin=origin)
