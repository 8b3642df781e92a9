"""Which columns feed which variable: by name, as `--columns` says, numbered (x1 .. xD), or the one that is left."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from vispec.model.model import Model
from vispec.train.data.columns import Column, Origin, Request, Table, concatenate
from vispec.train.data.diagnostics import DataDiagnostic, DataError, Problems
from vispec.train.data.files import read

POSITION = re.compile(r"#(\d{1,6})(?:\.\.#?(\d{1,6}))?")
NUMBERED = re.compile(r"(?:_?(\d{1,6})|\[(\d{1,6})\])")
REST = "*"


@dataclass(frozen=True)
class Slot:
    """Something that wants data: a variable, or the length of a plate that no variable with data stands in.

    vector: it may be gathered from several columns. optional: its column may be absent."""

    name: str
    vector: bool
    optional: bool


@dataclass
class Matched:
    """Columns by slot name. origin: the rows of the files given without a name; None where each variable has its own."""

    columns: dict[str, Column] = field(default_factory=dict)
    origin: Origin | None = None


def slots_of(model: Model, optional: Collection[str] = ()) -> dict[str, Slot]:
    """All that a model wants from data, in spec order. optional: variables besides partial ones that may be absent."""
    plates = model.plate
    slots: dict[str, Slot] = {}
    for variable in model.variables:
        if variable.role != "latent":
            inner = [plates[name] for name in variable.plates if not plates[name].data]
            vector = bool(variable.type.shape) or bool(inner) or variable.type.domain == "tree"
            slots[variable.name] = Slot(variable.name, vector, variable.role == "partial" or variable.name in optional)
    for plate in model.plates:
        if plate.ragged and not any(plate.name in _plates(model, name) for name in slots):
            slots[plate.length_key] = Slot(plate.length_key, len(plate.inside) > 1, False)
    return slots


def blocks(model: Model) -> int:
    """How many outermost plates have data in them."""
    found = (tuple(p for p in _plates(model, v.name) if p in model.plate) for v in model.variables if v.role != "latent")
    return len({next((p for p in plates if not model.plate[p].implicit), "") for plates in found})


def _plates(model: Model, name: str) -> tuple[str, ...]:
    """The plates that the values of a slot run along."""
    variable = model.variable.get(name)
    if variable is None:
        return ()
    return (*variable.plates, variable.type.plate or "") if variable.type.domain == "tree" else variable.plates


def parse_arguments(
    model: Model, arguments: Sequence[str], slots: Mapping[str, Slot]
) -> tuple[list[str], dict[str, list[str]]]:
    """Bare paths, and the paths of each `name=path`."""
    bare: list[str] = []
    named: dict[str, list[str]] = {}
    names = {variable.name for variable in model.variables} | slots.keys()
    problems = Problems()
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or (name not in names and not name.isidentifier()):
            bare.append(argument)
        elif name in slots:
            named.setdefault(name, []).append(path)
        else:
            what = "is latent, so it takes no data" if name in names else "is not a variable of the model"
            problems.add("D112", f"`{name}` {what}", path, help=_choices(slots))
    problems.check()
    if not bare and not named:
        raise DataError(
            [DataDiagnostic("D101", "no data file is named", "data", help="give a file, or name=file for each variable")]
        )
    return bare, named


def _choices(slots: Mapping[str, Slot]) -> str:
    return "variables that take data: " + ", ".join(f"`{name}`" for name in slots)


def match(
    model: Model,
    arguments: Sequence[str],
    columns: Mapping[str, tuple[str, ...]],
    problems: Problems,
    optional: Collection[str] = (),
) -> Matched:
    """Read all files and give each slot its column; what fits nowhere is a problem, or a warning for a latent's column."""
    slots = slots_of(model, optional)
    bare, named = parse_arguments(model, arguments, slots)
    for name in columns.keys() - slots.keys():
        problems.add("D112", f"--columns names `{name}`, which takes no data", (bare or arguments)[0], help=_choices(slots))
    matched = Matched()
    if bare:
        rest = {name: slot for name, slot in slots.items() if name not in named}
        if model.single is not None and (len(bare) > 1 or blocks(model) > 1):  # each file has what it has
            rest = {name: replace(slot, optional=True) for name, slot in rest.items()}
        _match_tables(model, bare, rest, columns, matched, problems)
    for name, paths in named.items():
        parts = [_own_column(slots[name], path, columns.get(name), model.single is not None, problems) for path in paths]
        if all(parts):
            _store(matched, name, [part for part in parts if part], problems)
    problems.check()
    _absent(slots, matched, (*bare, *(path for paths in named.values() for path in paths))[0], problems)
    return matched


def _absent(slots: Mapping[str, Slot], matched: Matched, file: str, problems: Problems) -> None:
    """Where there are only aligned files, each variable needs its own."""
    for name, slot in slots.items():
        if name not in matched.columns and not slot.optional:
            problems.add("D111", f"no data for `{name}`", file, help=f"add {name}=FILE")


def _request(slots: Mapping[str, Slot], columns: Mapping[str, tuple[str, ...]]) -> Request:
    asked = {name for slot in slots for name in columns.get(slot, ())}
    rest = REST in asked
    positional = rest or any(POSITION.fullmatch(name) for name in asked)

    def keep(name: str) -> bool:
        return rest or name in slots or name in asked or any(_number(slot, name) is not None for slot in slots.values())

    return Request(keep, positional)


def _number(slot: Slot, name: str) -> int | None:
    """3 for x3, x_3 or x[3] where the slot x may be gathered."""
    found = NUMBERED.fullmatch(name[len(slot.name) :]) if slot.vector and name.startswith(slot.name) else None
    return int(found[1] or found[2]) if found else None


def _match_tables(
    model: Model,
    paths: Sequence[str],
    slots: Mapping[str, Slot],
    columns: Mapping[str, tuple[str, ...]],
    matched: Matched,
    problems: Problems,
) -> None:
    request = replace(_request(slots, columns), single=model.single is not None)
    tables = [read(path, request) for path in paths]
    found: dict[str, list[Column]] = {}
    for table in tables:
        for name, column in _from_table(table, slots, columns, problems).items():
            found.setdefault(name, []).append(column)
    problems.check()
    for name, parts in found.items():
        if len(parts) == len(tables) or slots[name].optional:
            _store(matched, name, parts, problems)
        elif not problems.found:
            missing = next(t for t in tables if all(part.origin is not t.origin for part in parts))
            problems.add("D111", f"no column for `{name}`, which the other files have", missing.origin.file)
    matched.origin = Origin(tuple(part for table in tables for part in table.origin.parts))
    latent = [v.name for v in model.variables if v.role == "latent"]
    for name in latent:
        if name in tables[0].columns:
            problems.warn("D190", f"`{name}` is latent, so this column is not used", paths[0], name)


def _store(matched: Matched, name: str, parts: Sequence[Column], problems: Problems) -> None:
    column = concatenate(parts)
    if column is None:
        other = next(
            part for part in parts if len(part.levels) != len(parts[0].levels) or part.values.type != parts[0].values.type
        )
        fact = f"`{name}` is of another kind than in {parts[0].origin.file}"
        advice = "all files hold numbers there, or all text, in lists of one depth"
        problems.add("D114", fact, other.origin.file, None, other.label, advice)
    else:
        matched.columns[name] = column if column.label else replace(column, label=name)


def _own_column(slot: Slot, path: str, asked: tuple[str, ...] | None, single: bool, problems: Problems) -> Column | None:
    """The column of `name=path`: as --columns says, of that name, or the file's only one."""
    chosen = {slot.name: asked} if asked else {}
    request = replace(_request({slot.name: slot}, chosen), single=single)
    table = read(path, request)
    found = _from_table(table, {slot.name: slot}, chosen, Problems())
    if slot.name in found:
        return found[slot.name]
    if asked:
        _from_table(table, {slot.name: slot}, chosen, problems)
        return None
    only = next(iter(table.columns)) if len(table.columns) == 1 else None
    if only is not None and not (table.header and _like_number(only)):
        return read(path, Request(lambda name: True, single=single)).columns[only]
    names = ", ".join(f"`{name}`" for name in list(table.columns)[:10])
    advice = f"say which, as --columns {slot.name}=NAME" if only is None else _missing_help(table, slot, [only])
    problems.add("D111", f"no column `{slot.name}` among {names}", path, help=advice)
    return None


def _from_table(
    table: Table, slots: Mapping[str, Slot], columns: Mapping[str, tuple[str, ...]], problems: Problems
) -> dict[str, Column]:
    """The columns of one table by slot; the ones that are missing are reported."""
    chosen: dict[str, tuple[str, ...]] = {}
    for name, slot in slots.items():
        if name in columns:
            chosen[name] = _asked(table, name, columns[name], problems)
        elif name in table.columns and name:
            chosen[name] = (name,)
        elif slot.vector and (numbered := _numbered(table, slot, slots)):
            chosen[name] = numbered
    claimed = {name for names in chosen.values() for name in names}
    left = [name for name in table.columns if name not in claimed and (name not in slots or not name)]
    for name, names in list(chosen.items()):
        if REST in names:
            chosen[name] = tuple(n for item in names for n in (left if item == REST else [item]))
    _take_anonymous(table, slots, chosen)
    for name, slot in slots.items():
        if name not in chosen and not slot.optional:
            problems.add("D111", f"no column for `{name}`", table.origin.file, help=_missing_help(table, slot, left))
    return {name: _gather(table, name, names) for name, names in chosen.items() if names}


def _asked(table: Table, name: str, asked: Sequence[str], problems: Problems) -> tuple[str, ...]:
    """The table's names for what --columns asks: a name or a position, from 1, or all from one to another, a..c or #1..3."""
    names: list[str] = []
    order = list(table.columns)
    for item in asked:
        position = None if item in table.columns else POSITION.fullmatch(item)
        if position:
            first, last = int(position[1]), int(position[2] or position[1])
            if not 1 <= first <= last <= len(order):
                problems.add(
                    "D110", f"there are columns 1 to {len(order)}, not {item}", table.origin.file, help=f"asked for by `{name}`"
                )
                continue
            names += order[first - 1 : last]
        elif item in table.columns or item == REST:
            names.append(item)
        elif found := _between(order, *item.split("..")):
            names += found
        else:
            have = ", ".join(f"`{n}`" for n in order[:10]) + (", ..." if len(order) > 10 else "")
            advice = f"the columns are {have}" if table.header else "the file has no names; ask by position, as #1 or #1..3"
            advice = "give each variable a --columns of its own" if "=" in item else advice
            problems.add(
                "D110", f"there is no column `{item}`, which --columns asks for `{name}`", table.origin.file, help=advice
            )
    return tuple(names)


def _between(order: Sequence[str], first: str, last: str = "", *rest: str) -> Sequence[str]:
    """All names from the first to the last; none where there are not these two, in this order."""
    if rest or first not in order or last not in order:
        return ()
    return order[order.index(first) : order.index(last) + 1]


def _numbered(table: Table, slot: Slot, slots: Mapping[str, Slot]) -> tuple[str, ...]:
    """x1 .. xD in the order of their numbers, if they run on from 0 or 1; not those that are variables themselves."""
    free = (name for name in table.columns if name not in slots)
    numbers = {number: name for name in free if (number := _number(slot, name)) is not None}
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


def _missing_help(table: Table, slot: Slot, left: Sequence[str]) -> str:
    if "" in table.columns:
        return f"the file's rows have no names, and several variables want data: give each a file, as {slot.name}=FILE"
    if not left:
        return f"add a column `{slot.name}`"
    names = ",".join(left[:5]) + (",..." if len(left) > 5 else "")
    if all(_like_number(name) for name in table.columns):
        every = f"gather all columns with --columns '{slot.name}=*', or some by position, as {slot.name}=#1..3"
        return f"the first line is taken for names; if the file has none, {every}"
    advice = f"say which column it is, as --columns {slot.name}={left[0]}"
    if slot.vector and len(left) > 1:
        return f"{advice}, or which it is made of, as {slot.name}={names}"
    return f"{advice} (unused: {names})"


def _like_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _gather(table: Table, label: str, names: Sequence[str]) -> Column:
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
    return Column(label, (width,), values, table.origin, tuple(names))


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
