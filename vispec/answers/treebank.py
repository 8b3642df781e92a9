"""Predictions written into CoNLL-U: the lines of a treebank, or the words of a text, with what is predicted of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vispec.model.problems import listed
from vispec.train.data.files import in_utf8, opened, reader_of
from vispec.train.data.matching.match import parse_arguments, slots_of
from vispec.train.data.readers.conllu import CELLS, HEAD, NAMES, TEXT, decoded
from vispec.train.errors import RunError
from vispec.train.reading import Reading
from vispec.train.store.run import Run

PLACES = {**TEXT, "head": HEAD}


def treebank(run: Run, data: Sequence[str], reading: Reading, found: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """Lines, with the predictions of each sentence in their columns; all else is as in DATA. Raises RunError."""
    columns = reading.over(run.config.reading).columns
    told: dict[str, str] = {}

    def row() -> Mapping[str, Any]:
        values = next(found, None)
        if values is None:
            raise RunError("there are more sentences than predictions, so it is not known which are whose: no --drop-missing")
        for name in values:
            told.setdefault(name, column_of(name, columns))
        return values

    for path in files_of(run, data):
        yield from written(path, row, told)
    if next(found, None) is not None:
        raise RunError("there are more predictions than sentences")


def column_of(name: str, columns: Mapping[str, tuple[str, ...]]) -> str:
    """The column of CoNLL-U that a variable is of: that which it was read from, or that of its name."""
    found = next((each for each in (*columns.get(name, ()), name) if each in PLACES), None)
    if found is None:
        raise RunError(f"`{name}` is of no column of CoNLL-U; say of which, as --columns {name}=upos: {listed(NAMES)}")
    return found


def files_of(run: Run, data: Sequence[str]) -> list[str]:
    """The files of sentences: those of rows, or the one that is named for a variable."""
    bare, named = parse_arguments(run.model, data, slots_of(run.model))
    paths = bare or [path for each in named.values() for path in each][:1]
    for path in paths:
        if reader_of(path).name not in ("conllu", "text"):
            raise RunError(f"{path} is neither CoNLL-U nor text, whose words could be written as CoNLL-U")
    return paths


def written(path: str, row: Callable[[], Mapping[str, Any]], columns: Mapping[str, str]) -> Iterator[str]:
    """The lines of a file, a sentence a row."""
    reader = reader_of(path)
    lines = decoded(in_utf8(opened(path), reader))
    if reader.name == "text":
        for _, text in lines:
            values = row()
            yield from ("\t".join(filled(cells, values, columns)) for cells in sentence(text.split()))
            yield ""
        return
    values: Mapping[str, Any] | None = None
    for _, line in lines:
        cells = line.split("\t")
        if cells[0].isdecimal():
            values = row() if values is None else values
            yield "\t".join(filled(cells, values, columns))
            continue
        values = values if line.strip() else None
        yield line


def sentence(words: Sequence[str]) -> Iterator[list[str]]:
    """Words as cells of which nothing else is given."""
    for number, word in enumerate(words, 1):
        yield [str(number), word, *["_"] * (CELLS - 2)]


def filled(cells: list[str], values: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    """A word's cells, with what is predicted of it."""
    at, found = int(cells[0]) - 1, list(cells)
    for name, value in values.items():
        if not isinstance(value, list) or at >= len(value) or isinstance(value[at], list | dict):
            raise RunError(f"`{name}` has not one prediction for each word: --rule mode or greedy")
        found[PLACES[columns[name]]] = str(value[at])
    return found
