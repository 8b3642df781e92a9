"""Bags of words as the UCI collections have them: a line each with the numbers of documents, words and lines, then a line each
with document, word and count, from 1. A document is a row; its words stand there as often as they are counted.

Words are the labels 1 to W, or the lines of `vocab.NAME.txt` beside `docword.NAME.txt`."""

import re
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from vispec.train.data.columns import Array, Column, DataFile, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.readers.npz import copies

HEADER = 3  # lines
SHOWN = 1000  # lines by which the format is known
NAME = re.compile(r"docword(\..*)?\.txt(\.gz)?", re.IGNORECASE)
WHOLE = re.compile(rb"\s*\d{1,18}\s*")
ENTRY_LINE = re.compile(rb"\s*\d{1,18}\s+\d{1,18}\s+\d{1,18}\s*")


def is_docword(file: DataFile) -> bool:
    """Whether plain text has this form: three lines of one number, and lines of three that fit to them."""
    with file.open() as stream:
        lines = list(islice(stream, HEADER + SHOWN + 1))
    head, rest = lines[:HEADER], lines[HEADER:]
    if not rest or not all(map(WHOLE.fullmatch, head)):
        return False
    rest = [line for line in rest if line.strip()]
    rest = rest[:-1] if len(rest) > 1 else rest  # the last one may be cut
    if not all(map(ENTRY_LINE.fullmatch, rest)):
        return NAME.fullmatch(Path(file.name).name) is not None
    most = [int(line) for line in head[:2]]
    return all(0 < int(value) <= size for line in rest for value, size in zip(line.split(), most, strict=False))


def read(file: DataFile, request: Request) -> Table:
    """One column without a name, of the words of each document."""
    documents, words, lines = header(file)
    entries = triples(file)
    if len(entries) != lines:
        fact = f"the third line says that {lines} lines follow, and {len(entries)} do"
        advice = "fetch it again; if it is no bag of words, give its lines as JSON lines: [1, 2, 3]"
        raise DataError([DataDiagnostic("D132", fact, file.name, line=HEADER, help=advice)])
    for at, (what, size) in enumerate((("document", documents), ("word", words))):
        outside = np.flatnonzero((entries[:, at] < 1) | (entries[:, at] > size))
        if len(outside):
            fact = f"{what} {entries[outside[0], at]} is not in 1..{size}, as line {at + 1} says"
            raise DataError([DataDiagnostic("D132", fact, file.name, line=HEADER + 1 + int(outside[0]))])
    order = np.argsort(entries[:, 0], kind="stable")
    document, word, count = entries[order].T
    bounds = np.searchsorted(document, np.arange(1, documents + 2))
    level, tokens = copies(file, bounds, word, count)
    names = beside(file, words)
    values = (
        pa.array(tokens.astype(np.int32)) if names is None else pa.array(names, pa.large_string()).take(pa.array(tokens - 1))
    )
    first = np.append(order, len(order))[bounds[:-1]] if len(order) else bounds[:-1]
    origin = file.origin(documents, lambda row: int(first[row]) + HEADER + 1 if bounds[row] < bounds[row + 1] else None)
    labels = tuple(names if names is not None else (str(number) for number in range(1, words + 1)))
    whose = "" if names is None else f", those of {neighbour(file)}"
    note = f"a bag of words: {documents} documents, {words} words{whose}"
    column = Column("docword", (level,), pa.chunked_array([values]), origin, anonymous=True, order=labels)
    return Table({"docword": column}, origin, header=False, note=note)


def header(file: DataFile) -> list[int]:
    """How many documents, words and further lines there are."""
    with file.open() as stream:
        found = list(islice(stream, HEADER))
    for number, line in enumerate(found, 1):
        if not WHOLE.fullmatch(line):
            fact = "the first three lines hold a number each: of documents, words and further lines"
            raise DataError([DataDiagnostic("D105", fact, file.name, line=number)])
    return [int(line) for line in found]


def triples(file: DataFile) -> Array:
    """Document, word and count of each line after the header."""
    from pyarrow import csv

    names = ["document", "word", "count"]
    with file.open() as stream:
        for _ in range(HEADER):
            stream.readline()
        try:
            table = csv.read_csv(
                stream,
                read_options=csv.ReadOptions(column_names=names),
                parse_options=csv.ParseOptions(delimiter=" "),
                convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.int64()), null_values=[]),
            )
        except pa.ArrowInvalid:
            return slowly(file)
    return np.stack([column.to_numpy() for column in table.columns], 1)


def slowly(file: DataFile) -> Array:
    """The same where other white space stands between the numbers; the first line without three is an error."""
    found = list[list[int]]()
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            if number > HEADER and line.strip():
                if not ENTRY_LINE.fullmatch(line):
                    fact = f"{line.decode(errors='replace').strip()[:40]!r} is not a document, a word and a count"
                    raise DataError([DataDiagnostic("D105", fact, file.name, line=number)])
                found.append([int(part) for part in line.split()])
    return np.array(found, np.int64).reshape(-1, len(found[0]) if found else 3)


def neighbour(file: DataFile) -> str:
    """Where the words of a collection lie."""
    path = Path(file.name)
    return str(path.with_name("vocab" + path.name.removesuffix(".gz")[len("docword") :]))


def beside(file: DataFile, words: int) -> list[str] | None:
    """The words of the collection, if they lie beside it."""
    if not NAME.fullmatch(Path(file.name).name) or not Path(neighbour(file)).is_file():
        return None
    found = Path(neighbour(file)).read_text(encoding="utf-8").split("\n")
    found = found[:-1] if found[-1] == "" else found
    if len(found) != words or len({*found}) != words:
        fact = f"it has {len({*found})} distinct words on {len(found)} lines, and {file.name} counts {words}"
        raise DataError(
            [DataDiagnostic("D132", fact, neighbour(file), help="a line has a word; move the file away to do without")]
        )
    return found


ENTRY = Reader("docword", (".docword",), read)
