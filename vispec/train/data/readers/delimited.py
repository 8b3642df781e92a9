"""CSV and TSV by Arrow's reader. Columns that shall be numbers are read as such, and where one has a cell that is none, every
cell is read as text, and numbers are made later, so that the bad one can be named.

The first line holds the names, unless columns are asked for by position and every cell of it is a number. Tabs separate without
quotes, as text often begins with a quotation mark, unless every cell of the first line stands in quotes.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from vispec.train.data.columns import Column, DataFile, LineOf, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError, Problems
from vispec.train.data.encoding.values import MISSING
from vispec.train.data.files import check_utf8
from vispec.train.data.quotes import check_quotes, decimal_points

BLOCK = 1 << 24  # bytes that Arrow reads at once, and the longest row
SMALL = 1 << 20  # the same, where a longer row is read again as text


@dataclass(frozen=True)
class Dialect:
    """How cells are told apart. quoted: a cell in double quotes may hold anything."""

    delimiter: str
    quoted: bool

    def records(self, text: Iterable[str]) -> Any:
        return csv.reader(text, delimiter=self.delimiter, quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE)


def read(file: DataFile, request: Request) -> Table:
    return _read_numbers(file, request) or _read_text(file, request)


def _read_text(file: DataFile, request: Request) -> Table:
    """Every column as text."""
    check_utf8(file)
    dialect, first = _first_record(file)
    if dialect.quoted:
        check_quotes(file, dialect.delimiter)
    header, names = _names(first, request)
    _check_names(file, names, request)
    line_of = _line_finder(file, dialect, header, len(names))
    cells = _cells(file, dialect, len(names), first.stop if header else first.start, line_of)
    note = None
    if dialect.delimiter != "," and not _tabs(file):
        cells, changed = decimal_points(cells) if dialect.delimiter == ";" else (cells, False)
        mark = "semicolons" if dialect.delimiter == ";" else "tabs"
        note = f"its cells stand between {mark}{', and a comma in a number is a decimal point' if changed else ''}"
    origin = file.origin(cells.num_rows, line_of)
    columns = {name: Column(name, (), cells.column(i), origin) for i, name in enumerate(names) if name not in names[:i]}
    return Table(columns, origin, header, note)


def _read_numbers(file: DataFile, request: Request) -> Table | None:
    """Columns of which only numbers are wanted as numbers, labels as theirs, those that nobody wants not at all. None where
    that is not known, or where a cell is no number: the file is then read as text, which tells what is wrong, and where."""
    try:
        dialect, first = _first_record(file)
    except (DataError, UnicodeDecodeError):
        return None
    header, names = _names(first, request)
    if request.foresee is None or len({*names}) < len(names) or (dialect.delimiter != "," and not _tabs(file)):
        return None
    unread = {name: Column(name, (), pa.chunked_array([pa.nulls(0)]), file.origin(0)) for name in names}
    foreseen = request.foresee(Table(unread, file.origin(0), header))
    if foreseen is None or not foreseen.kinds:
        return None
    if any(name not in foreseen.kinds or pa.types.is_dictionary(foreseen.kinds[name]) for name in names):
        check_utf8(file)
        if dialect.quoted:
            check_quotes(file, dialect.delimiter)
    else:  # whatever is not plain is no number, quotes too
        dialect = Dialect(dialect.delimiter, False)
    kinds = {str(i): foreseen.kinds.get(name, pa.large_string()) for i, name in enumerate(names)}
    wanted = [str(i) for i, name in enumerate(names) if name in foreseen.kinds or name in foreseen.texts]
    try:
        cells = _arrow(file, dialect, kinds, first.stop if header else first.start, wanted, quick=True)
    except pa.ArrowInvalid:
        return None
    origin = file.origin(cells.num_rows, _line_finder(file, dialect, header, len(names)))
    nothing = pa.chunked_array([pa.nulls(cells.num_rows)])
    values = dict.fromkeys(names, nothing) | {names[int(i)]: cells.column(i) for i in wanted}
    return Table({name: Column(name, (), values[name], origin) for name in names}, origin, header, foreseen=foreseen)


def _names(first: "First", request: Request) -> tuple[bool, list[str]]:
    """Whether the first record holds the names of columns, and these."""
    if request.positional and all(_is_number(cell) for cell in first.cells):
        return False, [f"#{i + 1}" for i in range(len(first.cells))]
    return True, [cell.strip() for cell in first.cells]


def _tabs(file: DataFile) -> bool:
    return file.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))


@dataclass(frozen=True)
class First:
    """The first record that is not blank: its cells, and how many lines stand before it and before what follows it."""

    cells: list[str]
    start: int
    stop: int


def _first_record(file: DataFile) -> tuple[Dialect, First]:
    """The first record shows whether a TSV file quotes its text, and what stands between the cells of another file: commas, or
    where it has none, semicolons or tabs."""
    try:
        if _tabs(file):
            plain = _record(file, Dialect("\t", False))
            dialect = Dialect("\t", plain is not None and all(map(_is_quoted, plain.cells)))
            record = _record(file, dialect)
        else:
            found = {mark: _record(file, Dialect(mark, True)) for mark in ",;\t"}
            mark = next((mark for mark, record in found.items() if record is not None and len(record.cells) > 1), ",")
            dialect, record = Dialect(mark, True), found[mark]
    except csv.Error as error:
        raise _broken(file, str(error)) from None
    if record is None:
        raise DataError([DataDiagnostic("D102", "the file has only blank lines", file.name)])
    return dialect, record


def _record(file: DataFile, dialect: Dialect) -> First | None:
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader, start = dialect.records(text), 0
        for record in reader:
            if record:
                return First(record, start, reader.line_num)
            start = reader.line_num
    return None


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


def _cells(file: DataFile, dialect: Dialect, width: int, before: int, line_of: LineOf) -> pa.Table:
    """The table as text, column by position. before: how many lines stand before its rows."""
    problems = Problems()

    def wrong_width(record: arrow_csv.InvalidRow) -> str:
        row = None if record.number is None else record.number - before
        message = f"the row has {record.actual_columns} cells, the first line has {record.expected_columns}"
        line = None if row is None else line_of(row - 1)
        problems.add("D107", message, file.name, row, help=_width_help(file, record.text), line=line)
        return "skip"

    try:
        cells = _arrow(
            file, dialect, {str(i): pa.large_string() for i in range(width)}, before, invalid_row_handler=wrong_width
        )
    except pa.ArrowInvalid as error:
        raise _broken(file, str(error)) from None
    problems.check()
    return cells


def _arrow(
    file: DataFile,
    dialect: Dialect,
    kinds: Mapping[str, pa.DataType],
    before: int,
    wanted: Sequence[str] = (),
    quick: bool = False,
    **options: Any,
) -> pa.Table:
    """The cells of all columns, or of those that are wanted, which have numbers for names. before: lines before the rows.
    quick: by several threads, which know no numbers of rows."""
    with file.open() as stream:
        return arrow_csv.read_csv(
            pa.OSFile(stream.name) if quick and isinstance(stream, io.BufferedReader) else stream,
            arrow_csv.ReadOptions(
                use_threads=quick, block_size=SMALL if quick else BLOCK, column_names=[*kinds], skip_rows=before
            ),
            arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char='"' if dialect.quoted else False,
                newlines_in_values=dialect.quoted,
                ignore_empty_lines=len(kinds) > 1,  # in a table of one column, an empty cell is an empty line
                **options,
            ),
            arrow_csv.ConvertOptions(
                column_types=dict(kinds),
                include_columns=[*wanted],
                strings_can_be_null=False,
                null_values=[*MISSING],
                true_values=["1", "1.0", "true", "True", "TRUE"],
                false_values=["0", "0.0", "false", "False", "FALSE"],
            ),
        )


def _width_help(file: DataFile, text: str) -> str:
    return f"the row reads {text[:60]!r}; quote a cell that holds the delimiter"


def _broken(file: DataFile, reason: str) -> DataError:
    return DataError([DataDiagnostic("D105", f"this is not a table of cells: {reason}", file.name)])


def _line_finder(file: DataFile, dialect: Dialect, header: bool, width: int) -> LineOf:
    """Lines are found only when a problem is told: blank lines and quoted newlines make a row stand anywhere."""

    @cache
    def lines() -> list[int]:
        found: list[int] = []
        with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="") as text:
            reader = dialect.records(text)
            with suppress(csv.Error):
                for record in reader:
                    if record or (width == 1 and found):
                        found.append(reader.line_num - sum(cell.count("\n") for cell in record))
        return found[header:]

    def line_of(row: int) -> int | None:
        return lines()[row] if row < len(lines()) else None

    return line_of


ENTRY = Reader("delimited", (".csv", ".tsv", ".tab"), read)
