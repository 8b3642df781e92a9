"""JSON lines: an object with the variables' names as keys, or one bare value, on each line. Nested lists are ragged plates.
A file that is one object, over several lines, is one row; one that is an array of objects has a row of each.

The standard library's parser rather than Arrow's, which takes objects only, reads text that looks like a date as one, and
cannot say on which line it failed. Rows are turned into flat arrays a block at a time.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.train.data.columns import Column, DataFile, Origin, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError, Problems
from vispec.train.data.files import not_utf8

BLOCK = 1 << 14  # rows turned into arrays at once
BARE = ""  # the name of the column of bare lines
ONE_KIND = (
    "all rows of a column hold values of one kind, in lists of one depth: "
    "a single element is a list too, as [1], and null stands for a missing value"
)
NO_OBJECTS = (
    "a value is a number, text, a boolean, or a list of them; give what an object holds a name of its own on the line "
    "(pandas: to_json(orient='records', lines=True))"
)


@dataclass
class _Lines:
    """On which line each row stands, from the row of a number on."""

    first: int = 0
    known: list[int | None] = field(default_factory=list)

    def __getitem__(self, row: int) -> int | None:
        return self.known[row - self.first]


def read(file: DataFile, request: Request) -> Table:
    lines = _Lines()
    parts: dict[str, list[_Part]] = {}
    start = 0
    problems = Problems()
    document = _document(file)
    records = _records(file, problems) if document is None else ((None, row) for row in document)
    while block := list(islice(records, BLOCK)):
        lines.known += [line for line, _ in block]
        _take(file, request, [row for _, row in block], lines, start, parts, problems)
        start += len(block) * (not problems.found)
    problems.check()
    return _table(file, parts, file.origin(len(lines.known), lambda row: lines[row]), lines)


def blocks(file: DataFile, request: Request) -> Iterator[Table]:
    """The same, some lines at a time; but a file that is one document as a whole."""
    if _document(file) is not None:
        yield read(file, request)
        return
    problems, parts, start = Problems(), dict[str, list[_Part]](), 0
    records = _records(file, problems)
    while block := list(islice(records, BLOCK)):
        lines = _Lines(start, [line for line, _ in block])
        parts = {name: [] for name in parts}
        _take(file, request, [row for _, row in block], lines, start, parts, problems)
        problems.check()
        yield _table(file, parts, file.part(start, len(block), lines.__getitem__), lines)
        start += len(block)
    problems.check()


def _take(
    file: DataFile,
    request: Request,
    rows: list[Any],
    lines: _Lines,
    start: int,
    parts: dict[str, list["_Part"]],
    problems: Problems,
) -> None:
    """Put the columns of a block of rows behind those before it."""
    if not problems.found:
        _check_kinds(file, rows, lines, start, problems, bare=BARE in parts if start else not isinstance(rows[0], dict))
    if problems.found:
        return  # only to see which other lines are not JSON
    for name in _names(rows, parts):
        found = parts.setdefault(name, [])
        if name == BARE or request.keep(name):
            values = rows if name == BARE else [row.get(name) for row in rows]
            part = _flatten(file, name, values, lines, start, problems)
            found += [] if part is None else [part]


def _table(file: DataFile, parts: dict[str, list["_Part"]], origin: Origin, lines: _Lines) -> Table:
    columns = {name: _join(file, name, found, origin, lines) for name, found in parts.items()}
    return Table(columns, origin, header=BARE not in columns)


def _document(file: DataFile) -> list[Any] | None:
    """The rows of a file that is one document, an object or an array of objects; None for any other file."""
    with file.open() as stream:
        first = stream.readline().removeprefix(b"\xef\xbb\xbf").strip()
        if first and not _opens(first):
            return None
        text = first + b" " + stream.read()
    try:
        found = json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    rows = found if isinstance(found, list) else [found]
    return rows if rows and all(isinstance(row, dict) for row in rows) else None


def _opens(line: bytes) -> bool:
    """Whether a line begins an object or an array that it does not close, or is an array that begins with an object."""
    try:
        found = json.loads(line.decode())
    except RecursionError:
        return False
    except ValueError:
        return line.startswith((b"{", b"["))
    return isinstance(found, list) and bool(found) and isinstance(found[0], dict)


def _records(file: DataFile, problems: Problems) -> Iterator[tuple[int, Any]]:
    """The value of each line that is not blank, with the line's number; a line that is not JSON is a problem."""
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode(), parse_constant=_no_constant)
            except UnicodeDecodeError:
                raise not_utf8(file) from None
            except (ValueError, RecursionError) as error:
                reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).split(": line 1")[0]
                message = f"the line is not JSON: {reason}"
                problems.add("D105", message, file.name, line=number)


def _no_constant(text: str) -> float:
    return {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}[text]


def _check_kinds(file: DataFile, rows: list[Any], lines: _Lines, start: int, problems: Problems, bare: bool) -> None:
    for i, row in enumerate(rows):
        if isinstance(row, dict) == bare:
            what = "an object among bare values" if bare else "not an object, as the first line is"
            problems.add("D109", f"the line is {what}", file.name, start + i + 1, line=lines[start + i])


def _names(rows: list[Any], known: Iterable[str]) -> list[str]:
    if not isinstance(rows[0], dict):
        return [BARE]
    return [name for name in dict.fromkeys(chain(known, chain.from_iterable(rows))) if name != BARE]  # row numbers of R


@dataclass
class _Part:
    """A column in a block of rows: first row, list lengths per depth, leaves."""

    start: int
    rows: int
    levels: list[np.ndarray[Any, Any]] = field(default_factory=list)
    values: pa.Array = field(default_factory=lambda: pa.nulls(0))


def _flatten(file: DataFile, name: str, values: list[Any], lines: _Lines, start: int, problems: Problems) -> _Part | None:
    """The values of a block of rows; None where they cannot be a column, which is then a problem."""
    part = _Part(start, len(values))
    flat = values
    while list in (kinds := set(map(type, flat))):
        if kinds - {list, type(None)}:
            return _mixed(file, name, values, lines, start, len(part.levels), problems)
        part.levels.append(np.array([-1 if item is None else len(item) for item in flat], np.int64))
        flat = list(chain.from_iterable(item for item in flat if item is not None))
    kinds.discard(type(None))
    if not (kinds <= {int, float} or (len(kinds) == 1 and kinds <= {str, bool})):
        return _mixed(file, name, values, lines, start, len(part.levels), problems)
    try:
        part.values = pa.array(flat, pa.large_string() if kinds == {str} else pa.float64() if float in kinds else None)
    except (UnicodeEncodeError, OverflowError, pa.ArrowInvalid):
        return _unusable(file, name, values, lines, start, problems)
    return part


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    """The values `depth` lists down."""
    return chain.from_iterable(_leaves(v, depth - 1) for v in value or ()) if depth else iter((value,))


def _mixed(file: DataFile, name: str, values: list[Any], lines: _Lines, start: int, depth: int, problems: Problems) -> None:
    """Two kinds of value where there may be one: name the rows that differ from the first."""
    seen: str | None = None
    for i, value in enumerate(values):
        kinds = [kind for leaf in _leaves(value, depth) if (kind := _kind(leaf)) is not None]
        odd = next((kind for kind in kinds if kind == "an object" or kind != (seen or kinds[0])), None)
        seen = seen or next((kind for kind in kinds if kind != "an object"), None)
        if odd is not None:
            message = f"{odd} cannot be a value" if odd == "an object" else f"{odd} stands here, {seen} before"
            advice = NO_OBJECTS if odd == "an object" else ONE_KIND
            problems.add("D114", message, file.name, start + i + 1, name, advice, lines[start + i])


def _kind(value: Any) -> str | None:
    """A value's kind in words; None for a missing one."""
    if value is None:
        return None
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(value), "an object")


def _unusable(file: DataFile, name: str, values: list[Any], lines: _Lines, start: int, problems: Problems) -> None:
    """Text with half a surrogate pair, or an integer past 64 bits."""
    for i, value in enumerate(values):
        try:
            pa.array([json.dumps(value, ensure_ascii=False)])
            if any(isinstance(leaf, int) and not -(2**63) <= leaf < 2**63 for leaf in _all_leaves(value)):
                raise OverflowError
        except (UnicodeEncodeError, OverflowError) as error:
            what = "an integer is past 64 bits" if isinstance(error, OverflowError) else "the text holds half a surrogate pair"
            problems.add("D105", what, file.name, start + i + 1, name, line=lines[start + i])


def _all_leaves(value: Any) -> Iterator[Any]:
    return chain.from_iterable(map(_all_leaves, value)) if isinstance(value, list) else iter((value,))


def _join(file: DataFile, name: str, parts: list[_Part], origin: Origin, lines: _Lines) -> Column:
    """The column of all blocks; rows of blocks before its first use are missing."""
    filled: list[_Part] = []
    at = lines.first
    for part in parts:
        if part.start > at:
            filled.append(_Part(at, part.start - at, values=pa.nulls(part.start - at)))
        filled.append(part)
        at = part.start + part.rows
    if left := lines.first + origin.rows - at:
        filled.append(_Part(at, left, values=pa.nulls(left)))
    depth = max(len(part.levels) for part in filled)
    for part in filled:
        _deepen(file, name, part, depth, lines)
    kind = _common_type(file, name, filled, lines)
    levels = tuple(np.concatenate([part.levels[d] for part in filled]) for d in range(depth))
    values = pa.chunked_array([part.values.cast(kind) for part in filled], kind)
    return Column(name, levels, values, origin, anonymous=name == BARE)


def _common_type(file: DataFile, name: str, parts: list[_Part], lines: _Lines) -> pa.DataType:
    typed = [part for part in parts if not pa.types.is_null(part.values.type)]
    kinds = {part.values.type for part in typed}
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    for part in typed[1:]:
        if len(kinds) > 1 and part.values.type != typed[0].values.type:
            message = f"the values from here on are {part.values.type}, those before {typed[0].values.type}"
            place = (part.start + 1, name, ONE_KIND, lines[part.start])
            raise DataError([DataDiagnostic("D114", message, file.name, *place)])
    return typed[0].values.type if typed else pa.null()


def _deepen(file: DataFile, name: str, part: _Part, depth: int, lines: _Lines) -> None:
    """A block whose lists are all empty or missing does not show how deep they are; give it the depth of the others."""
    while len(part.levels) < depth:
        if len(part.values) != part.values.null_count:
            message = f"the values are nested {len(part.levels)} deep, elsewhere {depth}"
            place = (part.start + 1, name, ONE_KIND, lines[part.start])
            raise DataError([DataDiagnostic("D114", message, file.name, *place)])
        part.levels.append(np.full(len(part.values), -1, np.int64))
        part.values = pa.nulls(0)


ENTRY = Reader("jsonl", (".jsonl", ".ndjson", ".json"), read, blocks=blocks)
