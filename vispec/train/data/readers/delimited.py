"""CSV and TSV by Arrow's reader. Every cell is read as text, and numbers are made later, so that a bad one can be named.

The first line holds the names, unless columns are asked for by position and every cell of it is a number. Tabs separate without
quotes, as text often begins with a quotation mark, unless every cell of the first line stands in quotes.
"""

import csv
import io
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from vispec.train.data.columns import Column, DataFile, LineOf, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError, Problems
from vispec.train.data.files import check_utf8

BLOCK = 1 << 24  # bytes that Arrow reads at once, and the longest row


@dataclass(frozen=True)
class Dialect:
    """How cells are told apart. quoted: a cell in double quotes may hold anything."""

    delimiter: str
    quoted: bool

    def records(self, text: Iterable[str]) -> Any:
        return csv.reader(text, delimiter=self.delimiter, quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE)


def read(file: DataFile, request: Request) -> Table:
    check_utf8(file)
    dialect, first = _first_record(file)
    header = not (request.positional and all(_is_number(cell) for cell in first))
    names = [cell.strip() for cell in first] if header else [f"#{i + 1}" for i in range(len(first))]
    _check_names(file, names, request)
    line_of = _line_finder(file, dialect, header)
    cells = _cells(file, dialect, len(names), header, line_of)
    origin = file.origin(cells.num_rows, line_of)
    columns = {name: Column(name, (), cells.column(i), origin) for i, name in enumerate(names) if name not in names[:i]}
    return Table(columns, origin, header)


def _first_record(file: DataFile) -> tuple[Dialect, list[str]]:
    """The first line that is not blank, as cells; it shows whether a TSV file quotes its text."""
    tabs = file.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        try:
            plain = next((record for record in Dialect("\t", False).records(text) if record), []) if tabs else []
            dialect = Dialect("\t", bool(plain) and all(map(_is_quoted, plain))) if tabs else Dialect(",", True)
            text.seek(0)
            record = next((record for record in dialect.records(text) if record), None)
        except csv.Error as error:
            raise _broken(file, str(error)) from None
    if record is None:
        raise DataError([DataDiagnostic("D102", "the file has only blank lines", file.name)])
    return dialect, record


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_names(file: DataFile, names: list[str], request: Request) -> None:
    problems = Problems()
    for name in sorted({name for name in names if names.count(name) > 1 and request.keep(name)}):
        problems.add("D108", f"{names.count(name)} columns have this name", file.name, column=name, line=1)
    problems.check()


def _cells(file: DataFile, dialect: Dialect, width: int, header: bool, line_of: LineOf) -> pa.Table:
    """The table as text, column by position."""
    problems = Problems()

    def wrong_width(record: arrow_csv.InvalidRow) -> str:
        row = None if record.number is None else record.number - header
        message = f"the row has {record.actual_columns} cells, the first line has {record.expected_columns}"
        line = None if row is None else line_of(row - 1)
        problems.add("D107", message, file.name, row, help=_width_help(file, record.text), line=line)
        return "skip"

    names = [str(i) for i in range(width)]
    try:
        with file.open() as stream:
            cells = arrow_csv.read_csv(
                stream,
                arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=names, skip_rows=int(header)),
                arrow_csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char='"' if dialect.quoted else False,
                    newlines_in_values=dialect.quoted,
                    invalid_row_handler=wrong_width,
                ),
                arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
            )
    except pa.ArrowInvalid as error:
        raise _broken(file, str(error)) from None
    problems.check()
    return cells


def _width_help(file: DataFile, text: str) -> str:
    return f"the row reads {text[:60]!r}; quote a cell that holds the delimiter"


def _broken(file: DataFile, reason: str) -> DataError:
    return DataError([DataDiagnostic("D105", f"this is not a table of cells: {reason}", file.name)])


def _line_finder(file: DataFile, dialect: Dialect, header: bool) -> LineOf:
    """Lines are found only when a problem is told: blank lines and quoted newlines make a row stand anywhere."""

    @cache
    def lines() -> list[int]:
        found: list[int] = []
        with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="") as text:
            reader = dialect.records(text)
            with suppress(csv.Error):
                for record in reader:
                    if record:
                        found.append(reader.line_num - sum(cell.count("\n") for cell in record))
        return found[header:]

    def line_of(row: int) -> int | None:
        return lines()[row] if row < len(lines()) else None

    return line_of


ENTRY = Reader("delimited", (".csv", ".tsv", ".tab"), read)
