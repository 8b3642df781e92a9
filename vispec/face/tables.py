"""Tables of any kind, in and out: what has Arrow's stream (pandas, polars, DuckDB), columns, rows, and paths of files."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any

import pyarrow as pa

from vispec.train.data.files import Held, holding
from vispec.train.data.memory import held_columns, held_rows, held_table

Data = Any
"""A path, or several; an object with `__arrow_c_stream__`; columns by name; rows, a mapping each; or, by the names of
variables, any of these, as `x=FILE y=FILE` at the shell."""


@contextmanager
def arguments(*data: Data) -> Iterator[list[tuple[str, ...]]]:
    """The data as a command line has them: words that name files, or tables in memory that can be read within."""
    tables: dict[str, Held] = {}
    words = [() if each is None else tuple(_words(each, tables)) for each in data]
    with holding(tables):
        yield words


def _words(data: Data, tables: dict[str, Held]) -> Iterator[str]:
    if isinstance(data, str | PathLike):
        yield str(fspath(data))
    elif _is_table(data):
        yield _hold(held_table(pa.table(data), kind(data)), tables)
    elif isinstance(data, Mapping) and data and all(map(_is_source, data.values())):
        yield from (f"{name}={word}" for name, each in data.items() for word in _words(each, tables))
    elif isinstance(data, Mapping):
        yield _hold(held_columns(data, kind(data)), tables)
    elif isinstance(data, Sequence) and data and all(map(_is_source, data)):
        yield from (word for each in data for word in _words(each, tables))
    elif isinstance(data, Sequence):
        yield _hold(held_rows(data, kind(data)), tables)
    else:
        message = "expected a path, a table (pandas, polars, Arrow, ...), columns by name, or a list of rows"
        raise TypeError(f"{message}; this is of {type(data).__module__}.{type(data).__qualname__}")


def _hold(named: tuple[str, Held], tables: dict[str, Held]) -> str:
    name, held = named
    tables[name] = held
    return name


def _is_table(data: Data) -> bool:
    """Whether it has columns, and not one alone as a series has."""
    return hasattr(data, "__arrow_c_stream__") and any(hasattr(data, name) for name in ("columns", "column_names", "schema"))


def _is_source(data: Data) -> bool:
    return isinstance(data, str | PathLike) or _is_table(data)


def kind(data: Data) -> str:
    """What a message calls it: pandas.DataFrame, dict."""
    root = type(data).__module__.partition(".")[0]
    return type(data).__qualname__ if root == "builtins" else f"{root}.{type(data).__qualname__}"


def like(data: Data, rows: Iterable[Mapping[str, Any]]) -> Any:
    """Rows as an object of the kind of `data`: a table, of pandas with the index where rows are as many; of columns, columns;
    else a list of rows."""
    found = [dict(row) for row in rows]
    columns = {name: [row.get(name) for row in found] for name in dict.fromkeys(name for row in found for name in row)}
    if not _is_table(data):
        plain = isinstance(data, Mapping) and not all(map(_is_source, data.values()))
        return columns if plain and len(found) > 0 and all(len(row) == len(columns) for row in found) else found
    root = type(data).__module__.partition(".")[0]
    if root == "pandas":
        index = data.index if len(data) == len(found) else None
        return sys.modules["pandas"].DataFrame(columns, index=index)
    if root == "polars":
        return sys.modules["polars"].DataFrame(columns, strict=False)
    return pa.table({name: _arrow(values) for name, values in columns.items()})


def _arrow(values: list[Any]) -> Any:
    """A column; of labels that are numbers and words, as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])
