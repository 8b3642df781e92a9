"""Tables of cells in quotes: quotes that are not closed, and numbers with decimal commas."""

import codecs
import csv
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from vispec.train.data.arrow import pc
from vispec.train.data.columns import DataFile
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.encoding.values import MISSING

WHOLE = r"^\s*[+-]?\d+\s*$"
COMMA = r"^\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*$"


def check_quotes(file: DataFile, delimiter: str) -> None:
    """D105 where a quote that opens a cell is not closed at its end: Arrow makes one cell of all rows up to the next one."""
    if are_plain(file, delimiter):
        return
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        lines: list[str] = []  # of the record that is being read

        def kept() -> Iterator[str]:
            for line in text:
                lines.append(line)
                yield line

        reader = csv.reader(kept(), delimiter=delimiter, strict=True)
        try:
            for _ in reader:
                lines.clear()
        except csv.Error as error:
            first = reader.line_num - len(lines) + 1
            message = "a quotation mark opens a cell here and is not closed at the end of the cell"
            advice = (
                f'a cell in quotes ends with one, before a {delimiter!r} or the end of the line; inside, write it twice, ""'
            )
            place = first + _opening("".join(lines), delimiter)
            raise DataError([DataDiagnostic("D105", message, file.name, help=advice, line=place)]) from error


QUOTE = b'"'
BLOCK = 1 << 20


def are_plain(file: DataFile, delimiter: str) -> bool:
    """Whether every quote opens a cell, or closes it at its end, or is one of two that stand for one: by turns, a quote stands
    after a delimiter, a line or a quote, and before one of these. Where some do not, a cell that is not quoted has one, or the
    file is broken; a reader in Python tells. This needs no loop over cells."""
    edges = np.zeros(256, bool)
    edges[[*f'"\n\r{delimiter}'.encode()]] = True
    opens, before = True, ord("\n")
    with file.open() as stream:
        block = stream.read(BLOCK).removeprefix(codecs.BOM_UTF8)
        while block:
            after = stream.read(BLOCK)
            if QUOTE in block:
                cells = np.frombuffer(bytes([before]) + block + (after[:1] or b"\n"), np.uint8)
                at = np.flatnonzero(cells[1:-1] == ord(QUOTE)) + 1
                first = 0 if opens else 1
                if not (edges[cells[at[first::2] - 1]].all() and edges[cells[at[1 - first :: 2] + 1]].all()):
                    return False
                opens ^= bool(len(at) % 2)
            before, block = block[-1], after
    return opens


def _opening(text: str, delimiter: str) -> int:
    """In which line of a record, counted from 0, the quote stands that opens its last cell in quotes."""
    at, opened, inside, fresh = 0, 0, False, True
    while at < len(text):
        mark = text[at]
        if inside:
            if mark == '"' and text[at + 1 : at + 2] == '"':
                at += 1
            elif mark == '"':
                inside = False
                if text[at + 1 : at + 2] not in (delimiter, "\n", "\r", ""):
                    break
        elif mark == '"' and fresh:
            inside, opened = True, at
        fresh = mark == delimiter and not inside
        at += 1
    return text.count("\n", 0, opened)


def decimal_points(cells: pa.Table) -> tuple[pa.Table, bool]:
    """The table with points for commas in columns that hold nothing but numbers with them; and whether there are any."""
    changed = False
    for i, column in enumerate(cells.columns):
        commas = pc.match_substring_regex(column, COMMA)
        if not pc.any(commas).as_py():
            continue
        blank = pc.is_in(pc.ascii_trim_whitespace(column), value_set=pa.array(MISSING, column.type))
        if pc.all(pc.or_(commas, pc.or_(blank, pc.match_substring_regex(column, WHOLE)))).as_py():
            cells = cells.set_column(i, cells.column_names[i], pc.replace_substring(column, ",", "."))
            changed = True
    return cells, changed
