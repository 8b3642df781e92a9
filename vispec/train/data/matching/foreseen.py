"""What a table of text will be asked for, as its header tells: cells of which only numbers are wanted are then read as numbers,
and labels as numbers of the distinct ones.

Only where text and the number that it spells come to the same: one cell for a value, or one for each entry of a vector."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from vispec.model.model import Model
from vispec.train.data.arrange import layout_of
from vispec.train.data.columns import Foreseen, Request, Table
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.encode import bit_offset
from vispec.train.data.encoding.labels import is_coded
from vispec.train.data.files import read
from vispec.train.data.matching.choose import Slot, choose

NUMBERS = frozenset({"real", "positive", "unit", "count", "simplex", "ordered", "cholesky"})

LABELS = pa.dictionary(pa.int32(), pa.large_string())

Foresee = Callable[[Table], Foreseen | None]


def read_tables(paths: Sequence[str], request: Request, foresee: Foresee) -> list[Table]:
    """All with numbers as numbers, or all tables of text as text: files that are one table have columns of one kind."""
    tables = [read(path, replace(request, foresee=foresee)) for path in paths]
    if len({tuple(table.foreseen.names.items()) if table.foreseen else () for table in tables}) == 1:
        return tables
    return [read(path, request) if table.foreseen else table for path, table in zip(paths, tables, strict=True)]


def foresees(
    model: Model,
    slots: Mapping[str, Slot],
    columns: Mapping[str, tuple[str, ...]],
    keys: Collection[str],
    recalled: Collection[str],
) -> Foresee:
    """keys: the columns that say in which elements of plates a row stands, where a table has them. The rest as of `choose`."""

    def foresee(table: Table) -> Foreseen | None:
        own, problems = {*keys} & {*table.columns}, Problems()
        names = choose(table, slots, columns, own, problems, recalled).names
        if problems.found or model.single is not None:  # one row may hold anything whole
            return None
        kinds: dict[str, pa.DataType] = {}
        texts: set[str] = set()
        kinds |= dict.fromkeys(own, LABELS)
        for slot, taken in names.items():
            kind = _kind(model, slot, len(taken))
            if kind is None:
                texts |= {*taken}
            else:
                texts |= {name for name in taken if kinds.setdefault(name, kind) != kind}
        return Foreseen(names, {name: kind for name, kind in kinds.items() if name not in texts}, frozenset(texts))

    return foresee


def _kind(model: Model, slot: str, width: int) -> pa.DataType | None:
    """As what the columns of a slot are read; None: as text."""
    variable = model.variable.get(slot)
    if variable is None:
        return None
    if is_coded(model, variable.type):
        return LABELS if width == 1 and not layout_of(model, variable).axes else None
    if variable.type.domain not in NUMBERS | {"bit"}:
        return None
    layout = layout_of(model, variable)
    depth = len(layout.axes)
    if depth > 1 or (depth == 1) != (width > 1):  # a cell may hold a whole list
        return None
    if variable.type.domain != "bit":
        return pa.float64()
    return None if layout.bits and bit_offset(model, slot) is not None else pa.bool_()
