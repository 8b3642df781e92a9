"""Which columns of a table feed which variable: by name, as `--columns` says, numbered (x1 .. xD), or the one that is left.

A column that is named outright belongs to whom it is named for; ranges, numbers and `*` never take it."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vispec.model.problems import listed, near
from vispec.train.data.columns import Column, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError, Problems

POSITION = re.compile(r"#(\d{1,6})(?:\.\.#?(\d{1,6}))?")
NUMBERED = re.compile(r"(?:_?(\d{1,6})|\[(\d{1,6})\])")
REST = "*"


@dataclass(frozen=True)
class Slot:
    """Something that wants data: a variable, or the length of a plate that no variable with data stands in.

    vector: it may be gathered from several columns. optional: its column may be absent. partial: it is a partial variable.
    ragged: rows differ in how many values they have of it."""

    name: str
    vector: bool
    optional: bool
    partial: bool = False
    ragged: bool = False


@dataclass
class Chosen:
    """Names of columns by slot; `left`: those that nothing takes."""

    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def choose(
    table: Table,
    slots: Mapping[str, Slot],
    columns: Mapping[str, tuple[str, ...]],
    keys: Collection[str],
    problems: Problems,
    recalled: Collection[str] = (),
) -> Chosen:
    """The columns of each slot; what is asked for and not there, or wanted and not there, is a problem. keys: columns that say
    in which elements of plates a row stands. recalled: slots whose `columns` are a run's: the table need not have them."""
    other = {name: items for name, items in columns.items() if name in recalled and not holds(table, items)}
    columns = {name: items for name, items in columns.items() if name not in other}
    names = {name: list(_asked(table, name, columns[name], problems)) for name in slots if name in columns}
    for name in slots:
        if name and name not in columns and name in table.columns:
            names[name] = [name]
    claims = {item: slot for slot, items in names.items() for item in items if item in table.columns}
    claims |= {key: key for key in keys}
    for name, items in names.items():
        names[name] = _spread(table, name, items, claims, problems)
    claimed = {*keys, *(item for items in names.values() for item in items)}
    for name, slot in slots.items():
        if slot.vector and name not in names and (numbered := _numbered(table, slot, {*claimed, *slots})):
            names[name] = list(numbered)
            claimed |= {*numbered}
    left = [name for name in table.columns if name not in claimed and (name not in slots or not name)]
    for name, items in names.items():
        names[name] = [each for item in items for each in (left if item == REST else [item])]
    claimed |= {item for items in names.values() for item in items}
    chosen = {name: tuple(items) for name, items in names.items() if items}
    _take_anonymous(table, slots, chosen)
    for name, slot in slots.items():
        if name not in chosen and not slot.optional and name not in columns:
            before = f", which the run read from {listed(other[name])}" if name in other else ""
            problems.add("D111", f"no column for `{name}`{before}", table.origin.file, help=missing_help(table, slot, left))
    return Chosen(chosen, [name for name in left if name not in claimed])


def holds(table: Table, items: Sequence[str]) -> bool:
    """Whether a table has any of these columns, or might."""
    order = list(table.columns)
    return any(item in order or item == REST or POSITION.fullmatch(item) or _between(order, item) for item in items)


def _asked(table: Table, name: str, asked: Sequence[str], problems: Problems) -> Sequence[str]:
    """What --columns asks for, as the table's names where they are told outright, else as ranges first..last of them."""
    names: list[str] = []
    order = list(table.columns)
    for item in asked:
        position = None if item in table.columns else POSITION.fullmatch(item)
        if position:
            first, last = int(position[1]), int(position[2] or position[1])
            if not 1 <= first <= last <= len(order):
                there = f"there are columns 1 to {len(order)}, not {item}"
                problems.add("D110", there, table.origin.file, help=f"asked for by `{name}`")
            else:
                names.append(order[first - 1] if not position[2] else f"{order[first - 1]}..{order[last - 1]}")
        elif item in table.columns or item == REST or _between(order, item):
            names.append(item)
        else:
            fact = f"there is no column `{item}`, which --columns asks for `{name}`"
            problems.add("D110", fact, table.origin.file, help=_no_column_help(table, item))
    return names


def _no_column_help(table: Table, item: str) -> str:
    if "=" in item:
        return "give each variable a --columns of its own"
    if any(column.anonymous for column in table.columns.values()):
        return "the file's rows have no names; leave --columns out, or give each variable its file, as x=FILE"
    if not table.header:
        return "the file has no names; ask by position, as #1 or #1..3"
    order = list(table.columns)
    meant = nearest(item, order)
    have = ", ".join(f"`{n}`" for n in order[:10]) + (", ..." if len(order) > 10 else "")
    return f"did you mean `{meant}`?" if meant else f"the columns are {have}"


def _between(order: Sequence[str], item: str) -> Sequence[str]:
    """All names from the first to the last of a range; none where there are not these two, in this order."""
    first, dots, last = item.partition("..")
    if not dots or first not in order or last not in order:
        return ()
    return order[order.index(first) : order.index(last) + 1]


def _spread(table: Table, name: str, items: Sequence[str], claims: Mapping[str, str], problems: Problems) -> list[str]:
    """The names of ranges, without those that belong to others."""
    found: list[str] = []
    for item in items:
        if item in table.columns or item == REST:
            found.append(item)
            continue
        within = _between(list(table.columns), item)
        foreign = [column for column in within if claims.get(column, name) != name]
        found += [column for column in within if column not in foreign and column not in items]
        if foreign:
            fact = f"`{name}={item}` leaves out {listed(foreign[:8])}, which other variables or plates take"
            problems.warn("D193", fact, table.origin.file)
        if len(foreign) == len(within):
            problems.add("D110", f"others take all columns of `{name}={item}`", table.origin.file)
    return found


def numbered(slot: Slot, name: str) -> int | None:
    """3 for x3, x_3 or x[3] where the slot x may be gathered."""
    found = NUMBERED.fullmatch(name[len(slot.name) :]) if slot.vector and name.startswith(slot.name) else None
    return int(found[1] or found[2]) if found else None


def _numbered(table: Table, slot: Slot, others: Collection[str]) -> tuple[str, ...]:
    """x1 .. xD in the order of their numbers, if they run on from 0 or 1; not those that others take."""
    free = (name for name in table.columns if name not in others)
    numbers = {number: name for name in free if (number := numbered(slot, name)) is not None}
    order = sorted(numbers)
    runs_on = order and order[0] in (0, 1) and order == list(range(order[0], order[0] + len(order)))
    return tuple(numbers[i] for i in order) if runs_on else ()


def _take_anonymous(table: Table, slots: Mapping[str, Slot], chosen: dict[str, tuple[str, ...]]) -> None:
    """A column without a name goes to the one slot that is left."""
    anonymous = [name for name, column in table.columns.items() if column.anonymous]
    open_slots = [slot for slot in slots.values() if slot.name not in chosen]
    required = [slot for slot in open_slots if not slot.optional] or open_slots
    if len(anonymous) == 1 and len(required) == 1:
        chosen[required[0].name] = (anonymous[0],)


def missing_help(table: Table, slot: Slot, left: Sequence[str]) -> str:
    """What may feed a slot for which there is no column."""
    absent = f"; or, if there are no values of it, --absent {slot.name}" if slot.partial else ""
    if any(column.anonymous for column in table.columns.values()):
        return f"the file's rows have no names, and several variables want data: give each a file, as {slot.name}=FILE{absent}"
    left = [name for name in left if name]  # the row numbers that R and pandas write have no name
    if not left:
        return f"add a column `{slot.name}`{absent}"
    names = ",".join(left[:5]) + (",..." if len(left) > 5 else "")
    if all(like_number(name) for name in table.columns):
        every = f"gather all columns with --columns '{slot.name}=*', or some by position, as {slot.name}=#1..3"
        return f"the first line is taken for names; if the file has none, {every}{absent}"
    meant = nearest(slot.name, left)
    advice = f"say which column it is, as --columns {slot.name}={meant or left[0]}"
    if slot.vector and len(left) > 1:
        return f"{advice}, or which it is made of, as {slot.name}={names}{absent}"
    return f"did you mean `{meant}`? {advice}{absent}" if meant else f"{advice} (unused: {names}){absent}"


def nearest(name: str, known: Collection[str]) -> str | None:
    """The name that is meant, whatever its case."""
    folded = {other.casefold().replace(" ", "_"): other for other in known}
    meant = near(name.casefold(), folded)
    return folded[meant] if meant else None


def like_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def gather(table: Table, label: str, names: Sequence[str]) -> Column:
    """Several columns as lists of their values, row by row."""
    columns = [table.columns[name] for name in names]
    if len(columns) == 1:
        return columns[0]
    kinds = {column.values.type for column in columns}
    if any(column.levels for column in columns) or (len(kinds) > 1 and any(not _is_number(kind) for kind in kinds)):
        message = f"columns {', '.join(names[:5])} cannot be gathered: they are lists, or of several kinds"
        advice = "columns of single numbers, or all of text, make a vector"
        raise DataError([DataDiagnostic("D114", message, table.origin.file, None, label, advice)])
    kind = kinds.pop() if len(kinds) == 1 else pa.float64()
    rows, width = table.origin.rows, len(columns)
    joined = pa.concat_arrays([chunk for column in columns for chunk in column.values.cast(kind).chunks])
    order = np.arange(rows * width).reshape(width, rows).T.reshape(-1)
    values = pa.chunked_array([joined.take(pa.array(order))], kind)
    orders = {column.order for column in columns}
    return Column(label, (width,), values, table.origin, tuple(names), order=orders.pop() if len(orders) == 1 else None)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
