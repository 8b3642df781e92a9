"""What readers give: columns of nested rows, flat in memory, that know where each value stands in its file.

A column nested twice, [[1, 2], [3]] in row 1 and [] in row 2, is levels = ([2, 0], [2, 1]) and values = [1, 2, 3].
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.train.data.diagnostics import Problems

Array = np.ndarray[Any, Any]
Level = int | Array
"""Lengths of the lists at one depth: int64, -1 where a list is missing; or one number where all lists have that many."""

LineOf = Callable[[int], int | None]
"""From a row counted from 0 to its line counted from 1."""


def no_lines(row: int) -> int | None:
    """For formats that have no lines."""
    return None


@dataclass(frozen=True)
class Origin:
    """Rows of one or several files, one after another: (file, rows, line_of) each. kept: which of them these are, None: all."""

    parts: tuple[tuple[str, int, LineOf], ...]
    kept: Array | None = None

    @property
    def file(self) -> str:
        return self.parts[0][0]

    @cached_property
    def starts(self) -> list[int]:
        return [0, *np.cumsum([rows for _, rows, _ in self.parts]).tolist()]

    @property
    def rows(self) -> int:
        return self.starts[-1] if self.kept is None else len(self.kept)

    def of(self, rows: Array) -> "Origin":
        """Of these rows."""
        return replace(self, kept=rows if self.kept is None else self.kept[rows])

    def locate(self, row: int) -> tuple[str, int, int | None]:
        """The file of a row (counted from 0), its number in there (from 1), and its line."""
        row = row if self.kept is None else int(self.kept[row])
        part = min(bisect_right(self.starts, row), len(self.parts)) - 1
        file, _, line_of = self.parts[part]
        inside = row - self.starts[part]
        return file, inside + 1, line_of(inside)


def total(level: Level, parents: int) -> int:
    """How many elements `parents` lists hold together."""
    return level * parents if isinstance(level, int) else int(np.maximum(level, 0).sum())


def lengths(level: Level, parents: int) -> Array:
    """The lengths as an array, -1 where a list is missing."""
    return np.full(parents, level, np.int64) if isinstance(level, int) else level


def offsets(level: Level, parents: int) -> Array:
    """Where each list starts among the elements, and one past the last: (parents + 1,) int64."""
    if isinstance(level, int):
        return np.arange(parents + 1, dtype=np.int64) * level
    return np.concatenate(([0], np.cumsum(np.maximum(level, 0))))


@dataclass(frozen=True)
class Column:
    """One named field. names: the columns gathered into its innermost lists. anonymous: the file gives it no name.
    table: the rows of a file that were made the outermost lists of one row. order: of its labels, where the file gives one.
    source: of a long table, its rows, which of them each element after so many levels came from (-1: none), and that number."""

    label: str
    levels: tuple[Level, ...]
    values: pa.ChunkedArray
    origin: Origin
    names: tuple[str, ...] = ()
    anonymous: bool = False
    table: Origin | None = None
    order: tuple[str, ...] | None = None
    source: tuple[Origin, Array, int] | None = None

    def parents(self, depth: int) -> int:
        """How many lists there are at this depth; depth 0: rows."""
        count = self.origin.rows
        for level in self.levels[:depth]:
            count = total(level, count)
        return count

    def locate(self, depth: int, index: int) -> tuple[int, tuple[int, ...]]:
        """The row (from 0) of element `index` after `depth` levels, and its position at each of them."""
        path: list[int] = []
        for d in reversed(range(depth)):
            level = self.levels[d]
            if isinstance(level, int):
                index, at = divmod(index, level)
            else:
                bounds = offsets(level, 0)
                parent = int(np.searchsorted(bounds, index, "right")) - 1
                index, at = parent, index - int(bounds[parent])
            path.append(at)
        return index, tuple(reversed(path))

    def _source_row(self, depth: int, index: int) -> int:
        """The row of a long table that an element came from, or the first one inside of it."""
        assert self.source is not None
        _, rows, levels = self.source
        for d in reversed(range(levels, depth)):
            level = self.levels[d]
            index = index // level if isinstance(level, int) else int(np.searchsorted(offsets(level, 0), index, "right")) - 1
        last = index
        for level in self.levels[depth:levels]:
            bounds = offsets(level, last + 1)
            index, last = int(bounds[index]), int(bounds[last + 1]) - 1
        return max(0, int(rows[index : max(index, last) + 1].max(initial=-1)))

    def report(self, problems: Problems, code: str, message: str, depth: int, index: int, help: str | None = None) -> None:
        """Add a problem at element `index` after `depth` levels."""
        row, path = self.locate(depth, index)
        origin = self.origin
        if self.source is not None:
            origin, row, path = self.source[0], self._source_row(depth, index), path[self.source[2] :]
        if self.table is not None and path:
            origin, row, path = self.table, path[0], path[1:]
        file, number, line = origin.locate(row)
        name = self.label
        if self.names and depth == len(self.levels) and path:
            name, path = self.names[path[-1]], path[:-1]
        if path:
            message = f"element {', '.join(str(p + 1) for p in path)}: {message}"
        problems.add(code, message, file, number, name, help, line)


@dataclass(frozen=True)
class Table:
    """A file read: columns by name in file order; `header` False where they are known by position only ("#1", "#2", ...).
    note: what was found out about its form, for the user to know. foreseen: by what its cells were read, if by anything."""

    columns: Mapping[str, Column]
    origin: Origin
    header: bool = True
    note: str | None = None
    foreseen: "Foreseen | None" = None


@dataclass(frozen=True)
class Foreseen:
    """What a table will be asked for, as its header tells. names: the columns of each slot. kinds: as what columns are read
    that are nothing but numbers, bits, or labels. texts: all others that are of use."""

    names: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, pa.DataType]
    texts: frozenset[str]


@dataclass(frozen=True)
class Request:
    """What a reader is asked for. keep: whether a column of this name can be of use. positional: columns are asked for by
    position, so a first line of numbers is data, and a line of plain text is cells between white space. single: all of the
    data are one row, which arrays hold whole. whole: a line of plain text is one cell, for what has many values in it.
    foresee: of a table of text without its values, what it will be asked for, so that numbers need not be read as text."""

    keep: Callable[[str], bool]
    positional: bool = False
    single: bool = False
    whole: bool = False
    foresee: Callable[[Table], Foreseen | None] | None = None


@dataclass(frozen=True)
class Reader:
    """A file format. extensions: in lower case, with the dot, without .gz. read: from an open file; raises DataError.
    binary: its bytes are no text. blocks: the same, some rows at a time; None where a file can only be read as a whole."""

    name: str
    extensions: tuple[str, ...]
    read: "Callable[[DataFile, Request], Table]"
    binary: bool = False
    blocks: "Callable[[DataFile, Request], Iterator[Table]] | None" = None


@dataclass(frozen=True)
class DataFile:
    """A data file: the name to show for it, and how to open its bytes after decompression (again and again)."""

    name: str
    open: Callable[[], Any]

    def origin(self, rows: int, line_of: LineOf = no_lines) -> Origin:
        return Origin(((self.name, rows, line_of),))

    def part(self, first: int, rows: int, line_of: LineOf = no_lines) -> Origin:
        """Of so many rows from the one of a number on. line_of: by the numbers of rows in the file."""
        return Origin(((self.name, first + rows, line_of),), np.arange(first, first + rows))


def deepen(column: Column, depth: int) -> Column:
    """Lists that are all empty, or values that are all missing, do not show their depth: give them the depth that is wanted."""
    while len(column.levels) < depth and column.values.null_count == len(column.values):
        level = np.full(len(column.values), -1, np.int64)
        column = replace(column, levels=(*column.levels, level), values=pa.chunked_array([pa.nulls(0)]))
    return column


def emptied(column: Column) -> Column:
    """Where values stood that are held elsewhere: as much as is told of them in messages."""
    return replace(column, values=pa.chunked_array([pa.nulls(0)]))


def fill(column: Column, depth: int, wanted: Array) -> Column:
    """Give missing lists at a depth the wanted lengths, their elements missing. wanted: (lists,), the own length for others."""
    level = lengths(column.levels[depth], column.parents(depth))
    old, new = offsets(level, 0), offsets(wanted, 0)
    parent = np.repeat(np.arange(len(wanted)), wanted)
    source = old[parent] + np.arange(len(parent)) - new[parent]
    absent = level[parent] < 0
    levels = list(column.levels)
    levels[depth] = wanted
    widths = [level for level in levels[depth + 1 :] if isinstance(level, int)]
    if len(widths) < len(levels) - depth - 1:
        below = lengths(levels[depth + 1], int(old[-1]))
        filled = np.full(len(source), -1, np.int64)
        filled[~absent] = below[source[~absent]]
        levels[depth + 1] = filled
        return replace(column, levels=tuple(levels))
    width = prod(widths)
    cells = (source[:, None] * width + np.arange(width)).reshape(-1)
    values = column.values.take(pa.array(cells, mask=np.repeat(absent, width)))
    return replace(column, levels=tuple(levels), values=values)


def select(column: Column, rows: Array) -> Column:
    """These rows (-1: a missing one), one after another; where they stood is to be said by who asks."""
    levels: list[Level] = []
    count = column.origin.rows
    for level in column.levels:
        if isinstance(level, int):
            levels.append(level)
            rows = np.where(rows[:, None] < 0, -1, rows[:, None] * level + np.arange(level)).reshape(-1)
        else:
            taken = np.where(rows < 0, -1, level[rows])
            levels.append(taken)
            inside = np.maximum(taken, 0)
            starts = np.repeat(offsets(level, 0)[rows] - np.cumsum(inside) + inside, inside)
            rows = starts + np.arange(len(starts))
        count = total(level, count)
    values = column.values.take(pa.array(rows, mask=rows < 0))
    return replace(column, levels=tuple(levels), values=values)


def between(column: Column, first: int, stop: int, origin: Origin) -> Column:
    """Its rows from one number to before another, without a copy of the values. origin: of these rows."""
    levels, low, high = list[Level](), first, stop
    for level in column.levels:
        if isinstance(level, int):
            levels.append(level)
            low, high = low * level, high * level
        else:
            levels.append(level[low:high])
            start = total(level[:low], low)
            low, high = start, start + total(level[low:high], high - low)
    return replace(column, levels=tuple(levels), values=column.values.slice(low, high - low), origin=origin)


def concatenate(columns: Sequence[Column]) -> Column | None:
    """Rows of the same column of several files, one after another; None where they are nested or typed differently."""
    depth = max(len(column.levels) for column in columns)
    columns = [deepen(column, depth) for column in columns]
    first = columns[0]
    if len(columns) == 1:
        return first
    if len({len(column.levels) for column in columns}) > 1:
        return None
    levels = tuple(
        np.concatenate([lengths(column.levels[d], column.parents(d)) for column in columns]) for d in range(len(first.levels))
    )
    kinds = {column.values.type for column in columns if not pa.types.is_null(column.values.type)}
    kind = pa.float64() if len(kinds) > 1 and all(map(_numeric, kinds)) else next(iter(kinds), pa.null())
    if len(kinds) > 1 and kind not in kinds and not all(map(_numeric, kinds)):
        return None
    try:
        values = pa.chunked_array([chunk for column in columns for chunk in column.values.cast(kind).chunks], kind)
    except pa.ArrowInvalid:
        return None
    origin = Origin(tuple(part for column in columns for part in column.origin.parts))
    orders = {column.order for column in columns}
    if len(orders) > 1:
        return None
    return Column(first.label, levels, values, origin, first.names, first.anonymous, order=first.order)


def _numeric(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
