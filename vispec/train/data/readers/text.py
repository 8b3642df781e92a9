"""Plain text: a line is a row. Lines end with a newline (a carriage return before it is dropped); nothing else splits them.

The bytes become Arrow strings without a loop over lines: the offsets of a string array are the positions of the newlines.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from vispec.train.data.arrow import pc
from vispec.train.data.columns import Column, DataFile, Origin, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.files import not_utf8
from vispec.train.data.readers import docword

BLOCK = 1 << 24  # bytes read at once
PART = 1 << 24  # of them, where each block is encoded by itself
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read(file: DataFile, request: Request) -> Table:
    """One column without a name, of whole lines; it is "#1" where many values are wanted of a row. Else, by position,
    the cells of each line as columns "#1", "#2", ..."""
    by_cells = request.positional and not request.whole
    if not by_cells and docword.is_docword(file):
        return docword.read(file, request)
    try:
        lines = pa.chunked_array(list(_blocks(file)), pa.large_string())
    except pa.ArrowInvalid:
        raise not_utf8(file) from None
    if by_cells:
        return _cells(file, lines)
    return _table(lines, file.origin(len(lines), lambda row: row + 1))


def blocks(file: DataFile, request: Request) -> Iterator[Table]:
    """The same, some lines at a time; but cells and bags of words as a whole."""
    if (request.positional and not request.whole) or docword.is_docword(file):
        yield read(file, request)
        return
    first = 0
    try:
        for lines in _blocks(file, PART):
            yield _table(pa.chunked_array([lines]), file.part(first, len(lines), lambda row: row + 1))
            first += len(lines)
    except pa.ArrowInvalid:
        raise not_utf8(file) from None


def _table(lines: pa.ChunkedArray, origin: Origin) -> Table:
    return Table({"": Column("", (), lines, origin, anonymous=True)}, origin, header=False)


def _blocks(file: DataFile, size: int = BLOCK) -> Iterator[pa.Array]:
    with file.open() as stream:
        rest = stream.read(len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK)
        while block := stream.read(size):
            data = rest + block
            stop = data.rfind(b"\n") + 1
            rest = data[stop:]
            if stop:
                yield _lines(data[:stop])
        if rest:
            yield _lines(rest if rest.endswith(b"\n") else rest + b"\n")


def _lines(data: bytes) -> pa.Array:
    """The lines of data, which ends with a newline."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    starts = np.concatenate(([0], ends)).astype(np.int64)
    lines = pa.Array.from_buffers(pa.large_string(), len(ends), [None, pa.py_buffer(starts), pa.py_buffer(data)])
    lines.validate(full=True)
    return pc.utf8_rtrim(lines, "\r\n")


def _cells(file: DataFile, lines: pa.ChunkedArray) -> Table:
    """A table whose cells stand between white space; blank lines are dropped, but for those of a table of one column."""
    trimmed = pc.ascii_trim_whitespace(lines)
    kept = np.flatnonzero(pc.not_equal(trimmed, "").to_numpy())
    if len(kept) < len(trimmed) and not pc.any(pc.match_substring_regex(trimmed, r"\s")).as_py():
        origin = file.origin(len(lines), lambda row: row + 1)
        return Table({"#1": Column("#1", (), trimmed, origin)}, origin, header=False)
    cells = pc.ascii_split_whitespace(trimmed.take(pa.array(kept))).combine_chunks()
    origin = file.origin(len(kept), lambda row: int(kept[row]) + 1)
    widths = pc.list_value_length(cells).to_numpy(zero_copy_only=False)
    width = int(widths[0]) if len(widths) else 0
    wrong = np.flatnonzero(widths != width)
    if len(wrong):
        row = int(wrong[0])
        message = f"the line has {widths[row]} cells, the first one has {width}"
        raise DataError([DataDiagnostic("D107", message, file.name, row + 1, line=int(kept[row]) + 1)])
    flat = pc.list_flatten(cells)
    names = [f"#{i + 1}" for i in range(width)]
    columns = {
        name: Column(name, (), pa.chunked_array([flat.take(pa.array(np.arange(i, len(flat), width)))]), origin)
        for i, name in enumerate(names)
    }
    return Table(columns, origin, header=False)


ENTRY = Reader("text", (".txt", ".text"), read, blocks=blocks)
