"""All files read, and each variable given its column: of the tables that several feed from, or of its own file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vispec.model.model import Model
from vispec.model.types import WHOLE_DOMAINS
from vispec.train.data.columns import Column, Origin, Request, Table, concatenate
from vispec.train.data.diagnostics import DataDiagnostic, DataError, Problems
from vispec.train.data.files import expanded, has_columns, read
from vispec.train.data.matching.choose import POSITION, REST, Slot, choose, gather, holds, like_number, missing_help, numbered
from vispec.train.data.matching.foreseen import foresees, read_tables

SHOWN = 8  # names of unused columns


@dataclass
class Matched:
    """Columns by slot name. origin: the rows of the files given without a name; None where each variable has its own.
    names: what `--columns` asked for, as names of columns. keys: by plate, in which of its elements each row stands; own:
    the same for each variable with a file of its own. asked: the plates of `--index`. rows: of a long table,
    the column that keys its rows, and their labels."""

    columns: dict[str, Column] = field(default_factory=dict)
    origin: Origin | None = None
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    keys: dict[str, Column] = field(default_factory=dict)
    own: dict[str, dict[str, Column]] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    unused: list[str] = field(default_factory=list)
    rows: dict[str, tuple[str | int, ...]] = field(default_factory=dict)


def slots_of(model: Model, optional: Collection[str] = (), absent: Collection[str] = ()) -> dict[str, Slot]:
    """All that a model wants from data, in spec order. optional: variables that may be absent. absent: those that are."""
    plates = model.plate
    slots: dict[str, Slot] = {}
    for variable in model.variables:
        if variable.role != "latent" and variable.type.whole_of is None and variable.name not in absent:
            inner = [plates[name] for name in variable.plates if not plates[name].data]
            vector = bool(variable.type.shape) or bool(inner) or variable.type.domain in WHOLE_DOMAINS
            ragged = any(plate.ragged for plate in inner)
            slots[variable.name] = Slot(variable.name, vector, variable.name in optional, variable.role == "partial", ragged)
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
    return (*variable.plates, variable.type.plate or "") if variable.type.domain in WHOLE_DOMAINS else variable.plates


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
            bare += expanded(argument)
        elif name in slots:
            named.setdefault(name, []).extend(expanded(path))
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
    absent: Collection[str] = (),
    index: Mapping[str, str] | None = None,
    remembered: Collection[str] = (),
    recalled: Collection[str] = (),
) -> Matched:
    """Read all files and give each slot its column; what fits nowhere is a problem, or a warning for a latent's column."""
    slots = slots_of(model, optional, absent)
    bare, named = parse_arguments(model, arguments, slots)
    _check_names(model, columns, absent, index or {}, slots, (bare or arguments)[0], problems)
    matched = Matched(asked=frozenset(index or {}))
    if bare:
        rest = {name: slot for name, slot in slots.items() if name not in named}
        if model.single is not None and (len(bare) > 1 or blocks(model) > 1):  # each file has what it has
            rest = {name: replace(slot, optional=True) for name, slot in rest.items()}
        _match_tables(model, bare, rest, columns, recalled, index or {}, matched, problems)
    for name, paths in named.items():
        single = model.single is not None
        keys = own_keys(model, name, index or {}) if len(paths) == 1 else {}
        matched.own[name] = {}
        asked, sure = columns.get(name), name not in recalled
        parts = [_own_column(slots[name], path, asked, sure, keys, single, matched, problems) for path in paths]
        if all(parts):
            _store(matched, name, [part for part in parts if part], problems)
    _check_keys(index or {}, remembered, matched, (bare or next(iter(named.values())))[0], problems)
    problems.check()
    _missing(slots, matched, (*bare, *(path for paths in named.values() for path in paths))[0], problems)
    return matched


def streams_of(
    model: Model,
    arguments: Sequence[str],
    columns: Mapping[str, tuple[str, ...]],
    optional: Collection[str] = (),
    absent: Collection[str] = (),
) -> list[tuple[str, list[str], Request]]:
    """What `match` reads: a variable, or "" for tables of several, with its files and what is asked of each."""
    slots = slots_of(model, optional, absent)
    bare, named = parse_arguments(model, arguments, slots)
    rest = {name: slot for name, slot in slots.items() if name not in named}
    found = [("", bare, _request(rest, columns, key_names(model, {}).values()))] if bare else []
    for name, paths in named.items():
        own = _request({name: slots[name]}, {name: columns[name]} if name in columns else {})
        found.append((name, paths, replace(own, keep=lambda name: True)))  # its only column may have any name
    return found


def _check_names(
    model: Model,
    columns: Collection[str],
    absent: Collection[str],
    index: Collection[str],
    slots: Mapping[str, Slot],
    file: str,
    problems: Problems,
) -> None:
    """Options name what they may name."""
    for name in columns:
        if name not in slots:
            what = "is declared absent" if name in absent else "takes no data"
            problems.add("D112", f"--columns names `{name}`, which {what}", file, help=_choices(slots))
    partial = [variable.name for variable in model.variables if variable.role == "partial"]
    for name in absent:
        if name not in partial:
            known = ", ".join(f"`{each}`" for each in partial) or "none"
            problems.add("D112", f"--absent names `{name}`, which is no partial variable", file, help=f"there are: {known}")
    for name in index:
        if name not in model.plate or model.plate[name].implicit:
            known = ", ".join(f"`{plate.name}`" for plate in model.plates if not plate.implicit)
            problems.add("D112", f"--index names `{name}`, which is no plate", file, help=f"there are: {known}")
    problems.check()


def _check_keys(index: Mapping[str, str], remembered: Collection[str], matched: Matched, file: str, problems: Problems) -> None:
    """D110 where no file has the column that `--index` asks for, or some of those that a run remembers."""
    for plate in [plate for plate in remembered if plate in matched.keys and matched.keys[plate].levels]:
        del matched.keys[plate]  # a variable's lists, in a file of nested data
    there = {*matched.keys, *(plate for keys in matched.own.values() for plate in keys)}
    nested = not there & {*remembered}
    for plate, name in index.items():
        if plate not in there and not (nested and plate in remembered):
            known = ", ".join(f"`{each}`" for each in matched.unused[:10])
            fact = f"there is no column `{name}`, which --index asks for plate `{plate}`"
            problems.add("D110", fact, file, help=f"columns that nothing takes: {known}" if known else None)


def _missing(slots: Mapping[str, Slot], matched: Matched, file: str, problems: Problems) -> None:
    """Where there are only aligned files, each variable needs its own."""
    for name, slot in slots.items():
        if name not in matched.columns and not slot.optional:
            absent = f", or, if there are no values of it, --absent {name}" if slot.partial else ""
            problems.add("D111", f"no data for `{name}`", file, help=f"add {name}=FILE{absent}")


def _request(slots: Mapping[str, Slot], columns: Mapping[str, tuple[str, ...]], keys: Collection[str] = ()) -> Request:
    asked = {name for slot in slots for name in columns.get(slot, ())}
    rest = REST in asked
    positional = rest or any(POSITION.fullmatch(name) for name in asked)
    every = positional or any(".." in name for name in asked)

    def keep(name: str) -> bool:
        wanted = every or name in slots or name in asked or name in keys
        return wanted or any(numbered(slot, name) is not None for slot in slots.values())

    whole = asked == {"#1"} and all(slots[name].ragged for name in slots if name in columns)
    return Request(keep, positional, whole=whole)


def key_names(model: Model, index: Mapping[str, str]) -> dict[str, str]:
    """The column that a plate may be keyed by: that of `--index`, or, where variables stand deeper than rows, of its name."""
    plates = [v.plates for v in model.variables if v.role != "latent"]
    deeper = any(sum(not model.plate[name].implicit for name in names) > 1 for names in plates)
    own = {plate.name: plate.name for plate in model.plates if not plate.implicit} if deeper else {}
    return own | dict(index)


def own_keys(model: Model, name: str, index: Mapping[str, str]) -> dict[str, str]:
    """The columns that may key the plates of a variable in a file of its own, which stands outside the data plate."""
    variable = model.variable.get(name)
    if variable is None or any(model.plate[plate].data for plate in variable.plates):
        return {}
    return {plate: index.get(plate, plate) for plate in variable.plates}


def _match_tables(
    model: Model,
    paths: Sequence[str],
    slots: Mapping[str, Slot],
    columns: Mapping[str, tuple[str, ...]],
    recalled: Collection[str],
    index: Mapping[str, str],
    matched: Matched,
    problems: Problems,
) -> None:
    keys = {plate: name for plate, name in key_names(model, index).items() if plate in index or name not in slots}
    request = replace(_request(slots, columns, keys.values()), single=model.single is not None)
    tables = read_tables(paths, request, foresees(model, slots, columns, keys.values(), recalled))
    found: dict[str, list[Column]] = {}
    keyed: dict[str, list[Column]] = {}
    for number, table in enumerate(tables):
        _tell_note(table, problems)
        own = {plate: name for plate, name in keys.items() if name in table.columns}
        chosen = choose(table, slots, columns, {*own.values()}, problems, recalled)
        if not number:
            matched.names |= {name: chosen.names[name] for name in columns if name in chosen.names and name not in recalled}
            columns = {**columns, **matched.names}  # ranges are resolved once
            _tell_unused(model, table, chosen.left, problems)
            matched.unused = chosen.left
        for name, names in chosen.names.items():
            found.setdefault(name, []).append(gather(table, name, names))
        for plate, name in own.items():
            keyed.setdefault(plate, []).append(table.columns[name])
    problems.check()
    for name, parts in found.items():
        if len(parts) == len(tables) or slots[name].optional:
            _store(matched, name, parts, problems)
        elif not problems.found:
            missing = next(t for t in tables if all(part.origin is not t.origin for part in parts))
            problems.add("D111", f"no column for `{name}`, which the other files have", missing.origin.file)
    for plate, parts in keyed.items():
        if len(parts) == len(tables) and (whole := concatenate(parts)) is not None:
            matched.keys[plate] = whole
    parts = tuple(part for table in tables for part in table.origin.parts)
    matched.origin = tables[0].origin if len(tables) == 1 else Origin(parts)


def _tell_note(table: Table, problems: Problems) -> None:
    if table.note:
        problems.warn("D196", table.note, table.origin.file)


def _tell_unused(model: Model, table: Table, left: Sequence[str], problems: Problems) -> None:
    """Warnings for columns of latents, and for those that nothing takes."""
    latent = {variable.name for variable in model.variables if variable.role == "latent"}
    for name in left:
        if name in latent:
            problems.warn("D190", f"`{name}` is latent, so this column is not used", table.origin.file, name)
    names = [f"`{name}`" for name in left if name not in latent and name]
    if names and table.header and has_columns(table.origin.file):
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        problems.warn("D194", f"columns that are not used: {', '.join(names[:SHOWN])}{more}", table.origin.file)


def _store(matched: Matched, name: str, parts: Sequence[Column], problems: Problems) -> None:
    column = concatenate(parts)
    if column is None and len({part.order for part in parts}) > 1:
        other = next(part for part in parts if part.order != parts[0].order)
        fact = f"the labels of `{name}` are in another order than in {parts[0].origin.file}"
        problems.add("D135", fact, other.origin.file, None, other.label, "all files give one order, or none")
    elif column is None:
        other = next(
            part for part in parts if len(part.levels) != len(parts[0].levels) or part.values.type != parts[0].values.type
        )
        fact = f"`{name}` is of another kind than in {parts[0].origin.file}"
        advice = "all files hold numbers there, or all text, in lists of one depth"
        problems.add("D114", fact, other.origin.file, None, other.label, advice)
    else:
        matched.columns[name] = column if column.label else replace(column, label=name)


def _own_column(
    slot: Slot,
    path: str,
    asked: tuple[str, ...] | None,
    sure: bool,
    keys: Mapping[str, str],
    single: bool,
    matched: Matched,
    problems: Problems,
) -> Column | None:
    """The column of `name=path`: as --columns says, of that name, or the file's only one. sure: not if a run alone says so, and
    the file has no such column."""
    columns = {slot.name: matched.names.get(slot.name, asked)} if asked else {}
    request = replace(_request({slot.name: slot}, columns, keys.values()), single=single)
    table = read(path, request)
    _tell_note(table, problems)
    there = {plate: table.columns[name] for plate, name in keys.items() if name in table.columns and name != slot.name}
    matched.own[slot.name] = there
    if asked and not sure and not holds(table, asked):
        asked, columns = None, {}
    taken = {column.label for column in there.values()}
    chosen = choose(table, {slot.name: slot}, columns, taken, problems if asked else Problems()).names
    if slot.name in chosen:
        matched.names |= {slot.name: chosen[slot.name]} if asked else {}
        return gather(table, slot.name, chosen[slot.name])
    if asked:
        return None
    free = [name for name in table.columns if name not in taken]
    only = free[0] if len(free) == 1 else None
    if only is not None and not (table.header and like_number(only)):
        return read(path, Request(lambda name: True, single=single)).columns[only]
    names = ", ".join(f"`{name}`" for name in list(table.columns)[:10])
    advice = f"say which, as --columns {slot.name}=NAME" if only is None else missing_help(table, slot, [only])
    problems.add("D111", f"no column `{slot.name}` among {names}", path, help=advice)
    return None
