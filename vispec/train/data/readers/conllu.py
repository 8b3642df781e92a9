"""CoNLL-U: a sentence is a row, its words are the elements of a list; columns form, lemma, upos, xpos, feats, head and deprel.

A word is a line of ten cells between tabs. Comments, multiword tokens (`3-4`) and empty nodes (`5.1`) are passed over; a blank
line ends a sentence. `_` is a missing value, but as a form it is the underscore itself, and so it is as the lemma of that form.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vispec.train.data.columns import Column, DataFile, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError
from vispec.train.data.files import not_utf8

CELLS = 10
TEXT = {"form": 1, "lemma": 2, "upos": 3, "xpos": 4, "feats": 5, "deprel": 7}
HEAD = 6
NAMES = ("form", "lemma", "upos", "xpos", "feats", "head", "deprel")


def read(file: DataFile, request: Request) -> Table:
    """The columns that can be of use, each nested once, and the names of the others."""
    lines, counts = list[int](), list[int]()
    kept = {name: list[str | None]() for name in TEXT if request.keep(name)}
    heads = list[int | None]()
    for line, words in sentences(file):
        lines.append(line)
        counts.append(len(words))
        for name, values in kept.items():
            values += [cell(name, cells) for cells in words]
        heads += [None if cells[HEAD] == "_" else int(cells[HEAD]) for cells in words]
    origin = file.origin(len(lines), lambda row: lines[row])
    level = np.array(counts, np.int64)
    arrays = {name: pa.array(values, pa.large_string()) for name, values in kept.items()}
    if request.keep("head"):
        arrays["head"] = pa.array(heads, pa.int64())
    columns = {name: Column(name, (level,), pa.chunked_array([array]), origin) for name, array in arrays.items()}
    unread = Column("", (), pa.chunked_array([pa.nulls(len(lines))]), origin)
    return Table({name: columns.get(name, replace(unread, label=name)) for name in NAMES}, origin)


def cell(name: str, cells: list[str]) -> str | None:
    """What a word has in a column of text; None where it is not given."""
    value = cells[TEXT[name]]
    underscore = name == "form" or (name == "lemma" and cells[TEXT["form"]] == "_")
    return None if value == "_" and not underscore else value


def sentences(file: DataFile) -> Iterator[tuple[int, list[list[str]]]]:
    """The line on which each sentence starts, and the cells of its words."""
    start, words = 0, list[list[str]]()
    for number, line in decoded(file):
        if not line.strip():
            if words:
                yield start, words
            words = []
        elif not line.startswith("#"):
            cells = line.split("\t")
            problem = wrong(cells, len(words) + 1)
            if problem:
                raise DataError([DataDiagnostic("D105", problem, file.name, line=number)])
            if cells[0].isdecimal():
                start = start if words else number
                words.append(cells)
    if words:
        yield start, words


def decoded(file: DataFile) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without their ends."""
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode()
            except UnicodeDecodeError:
                raise not_utf8(file) from None
            yield number, text.removeprefix("\ufeff" if number == 1 else "").rstrip("\r\n")


def wrong(cells: list[str], expected: int) -> str | None:
    """What is wrong with a line, if anything is."""
    if len(cells) != CELLS:
        return f"the line has {len(cells)} cells between tabs, and CoNLL-U has {CELLS}"
    if not cells[0].isdecimal():
        between = cells[0].replace("-", ".").split(".")
        good = len(between) == 2 and all(part.isdecimal() for part in between)
        return None if good else f"`{cells[0][:20]}` is not the number of a word"
    if not cells[0].isascii() or cells[0] != str(expected):
        return f"the word has the number {cells[0][:20]}, and {expected} comes next"
    head = cells[HEAD]
    if head != "_" and not (head.isascii() and head.isdecimal() and len(head) < 10):
        return f"the head of the word is `{head[:20]}`, which is not the number of one"
    return None


ENTRY = Reader("conllu", (".conllu",), read)
