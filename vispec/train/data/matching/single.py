"""The data of a spec without a data plate: one row, whole or as tables whose rows are the elements of an outermost plate.

A column is whole if it has one row, nested as deep as the variable; NumPy arrays always are. Any other is a table, and its rows
become the outermost level of lists of the one row.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from vispec.model.extent import element_plates
from vispec.model.model import Model, Plate, Variable
from vispec.train.data.columns import Column, Origin, no_lines
from vispec.train.data.diagnostics import Problems
from vispec.train.data.matching.match import Matched
from vispec.train.data.sizes import Sizes


def as_one_row(model: Model, matched: Matched, known: Sizes, problems: Problems) -> tuple[Matched, tuple[str, ...]]:
    """Columns as if the file had one row for all of the data, and the plates whose elements were the rows of a table."""
    columns: dict[str, Column] = {}
    tables: list[str] = []
    for name, column in matched.columns.items():
        variable = model.variable.get(name)
        plates = [
            model.plate[plate] for plate in (element_plates(variable) if variable else ()) if not model.plate[plate].implicit
        ]
        if variable is None or not plates:
            columns[name] = _only_row(column, name, problems)
            continue
        if _is_whole(column, variable, plates, known):
            columns[name] = column
            continue
        if column.origin.rows > 1 and len(column.levels) >= _depth(variable, plates):
            _several(column, name, problems)
        tables += [plates[0].name] if plates[0].name not in tables else []
        columns[name] = _lifted(column)
    problems.check()
    file = matched.origin.file if matched.origin else next(iter(matched.columns.values())).origin.file
    return replace(matched, columns=columns, origin=Origin(((file, 1, no_lines),))), tuple(tables)


def _depth(variable: Variable, plates: list[Plate]) -> int:
    """How deep lists are nested in the one row."""
    return len(plates) + len(variable.type.shape)


def _is_whole(column: Column, variable: Variable, plates: list[Plate], known: Sizes) -> bool:
    """Whether the column's one row holds all elements. Text that shall be split has one level less, as has a vector that is
    written flat; a table of one row has that too, unless its plate is known to have more elements."""
    if column.origin.rows != 1:
        return False
    depth, levels = _depth(variable, plates), len(column.levels)
    if levels >= depth or column.values.null_count == len(column.values):
        return True
    text = pa.types.is_large_string(column.values.type) or pa.types.is_string(column.values.type)
    if text and levels == depth - 1 and (column.anonymous or variable.type.domain == "token"):
        return True
    return levels > 0 and known.value(plates[0].size) not in (None, 1)


def _lifted(column: Column) -> Column:
    """The rows of a table as a list in one row."""
    row = Origin(((column.origin.file, 1, no_lines),))
    return replace(column, levels=(np.array([column.origin.rows]), *column.levels), origin=row, table=column.origin)


def _only_row(column: Column, name: str, problems: Problems) -> Column:
    if column.origin.rows != 1:
        _several(column, name, problems)
    return column


def _several(column: Column, name: str, problems: Problems) -> None:
    message = f"there are {column.origin.rows} rows for `{name}`, and a spec without a data plate describes one data set"
    advice = "give what is there once a file of its own, as name=FILE; or open a plate around the model: `plate n:`"
    problems.add("D134", message, column.origin.file, None, column.label, advice)
