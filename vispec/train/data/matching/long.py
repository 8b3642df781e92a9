"""Long tables: rows that say by keys in which elements of plates they stand become nested rows, one for each element of the
outermost plate.

Along a chain, elements are in the order of their keys; in a plate that differs from row to row, as they come. A plate that is
the same for all rows has its labels, and combinations that no row has are missing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vispec.model.model import Model, Plate, Position
from vispec.model.problems import listed
from vispec.model.walk import law_parts, walk
from vispec.train.data.arrow import pc
from vispec.train.data.columns import Array, Column, Level, Origin, no_lines, select
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.categories import raw_column
from vispec.train.data.encoding.labels import in_order, number_of
from vispec.train.data.encoding.labels import told as told_labels
from vispec.train.data.encoding.tokens import indices_of
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.data.matching.gaps import first_gap, places
from vispec.train.data.matching.keys import Keys, Labels, is_shared, labels_of_keys, read_keys
from vispec.train.data.matching.match import Matched
from vispec.train.data.sizes import Sizes

SHOWN = 5
DATE = re.compile(r"\d{4}-\d\d(-\d\d)?\b")


def regroup(
    model: Model, matched: Matched, encoders: Encoders, training: bool, sizes: Sizes, problems: Problems
) -> tuple[Matched, Labels]:
    """Columns of long tables nested, and the labels of the plates that all rows share, as their keys tell them."""
    sources = [(matched.keys, [name for name in matched.columns if name not in matched.own], matched.origin)]
    sources += [(keys, [name], matched.columns[name].origin) for name, keys in matched.own.items() if name in matched.columns]
    sources = [(keys, names, origin) for keys, names, origin in sources if keys and is_long(model, matched, keys, names)]
    raws = [{plate: raw_column(column, problems) for plate, column in keys.items()} for keys, _, _ in sources]
    problems.check()
    labels = labels_of_keys(model, matched, raws, encoders, training, sizes, problems)
    problems.check()
    columns, origin, rows_of = dict(matched.columns), matched.origin, matched.rows
    for (keys, names, rows), raw in zip(sources, raws, strict=True):
        told = read_keys(model, keys, raw, labels, sizes, problems)
        problems.check()
        union = {plate for name in names for plate in _plates(model, name)}
        for name in names:
            columns[name] = _nested(model, name, columns[name], told, union, problems)
        problems.check()
        if keys is matched.keys and rows is not None:
            origin = Origin(((rows.file, _rows(model, told), no_lines),))
            data = next((plate.name for plate in model.plates if plate.data and plate.name in told.codes), None)
            data = _series(model, names) if model.single is not None else data
            rows_of = {} if data is None else {told.names[data]: tuple(told_labels(told.labels[data]))}
            _tell(model, told, rows, names, problems)
    return replace(matched, columns=columns, origin=origin, rows=rows_of), labels


def _series(model: Model, names: Sequence[str]) -> str | None:
    """Of a spec without a data plate, the one plate along which all that a table has stands, so that its rows are elements."""
    plates = {tuple(_plates(model, name)) for name in names}
    return plates.pop()[0] if len(plates) == 1 and len(next(iter(plates))) == 1 else None


def _plates(model: Model, name: str) -> list[str]:
    """The plates of a variable, without the one that no line of the spec opens."""
    variable = model.variable.get(name)
    return [] if variable is None else [p for p in variable.plates if not model.plate[p].implicit]


def is_long(model: Model, matched: Matched, keys: Mapping[str, Column], names: Sequence[str]) -> bool:
    """Whether rows are to be taken together: where `--index` says so, or where columns with the plates' names key the outermost
    plate, and variables that stand deeper are single values in each row."""
    if matched.asked & {*keys}:
        return True
    deeper = [name for name in names if len(_plates(model, name)) > 1]
    if not deeper:
        return len(names) == 1 and [*keys] == _plates(model, names[0])[:1] and not model.plate[next(iter(keys))].data
    return all(_plates(model, name)[0] in keys and _is_flat(matched.columns[name]) for name in deeper)


def _is_flat(column: Column) -> bool:
    """Whether each row has one value, which is no text of several words."""
    if any(not isinstance(level, int) for level in column.levels):
        return False
    if not pa.types.is_large_string(column.values.type):
        return not column.levels or bool(column.names)
    return not pc.any(pc.match_substring_regex(column.values, r"\S\s+\S")).as_py()


def _rows(model: Model, keys: Keys) -> int:
    data = next((plate.name for plate in model.plates if plate.data and not plate.implicit), None)
    return 1 if data is None else keys.counts[data]


def _nested(model: Model, name: str, column: Column, keys: Keys, union: set[str], problems: Problems) -> Column:
    """One variable's column: a level for each plate after the outermost, and then its own."""
    plates = _plates(model, name)
    single = model.single is not None
    open_ = [plate for plate in plates if plate not in keys.codes]
    if open_ and (open_ != plates[-1:] or (len(plates) == 1 and not single)):
        fact = f"`{name}` stands in {listed(plates)}, and nothing says in which element of {listed(open_)} a row stands"
        problems.add("D138", fact, column.origin.file, None, column.label, f"say it: --index {open_[0]}=COLUMN")
        return column
    ids, count, levels = np.zeros(column.origin.rows, np.int64), 1, list[Level]()
    for depth, plate in enumerate(plates):
        ids, count, level = _along(model.plate[plate], ids, count, keys)
        if depth or single:
            levels.append(level)
    first = np.full(count, -1, np.int64)
    first[ids[::-1]] = np.arange(len(ids))[::-1]
    _check_whole(model, name, column, plates, levels, first, keys, problems)
    _check_same(name, column, plates, ids, first, keys, union, problems)
    taken = select(column, first)
    rows = 1 if single or not plates else keys.counts[plates[0]]
    origin = Origin(((column.origin.file, rows, no_lines),))
    return replace(taken, levels=(*levels, *taken.levels), origin=origin, source=(column.origin, first, len(levels)))


def _along(plate: Plate, ids: Array, count: int, keys: Keys) -> tuple[Array, int, Level]:
    """One plate deeper: which element each row stands in, how many there are, and how many in each of those before."""
    if plate.name not in keys.codes:
        place = np.empty(len(ids), np.int64)
        place[np.argsort(ids, kind="stable")] = np.arange(len(ids))
        return place, len(ids), np.bincount(ids, minlength=count)
    code, size = keys.codes[plate.name], keys.counts[plate.name]
    if is_shared(plate) or plate.data:
        return ids * size + code, count * size, size
    there, inverse = np.unique(ids * size + code, return_inverse=True)
    return inverse.reshape(-1), len(there), np.bincount(there // size, minlength=count)


def _check_whole(
    model: Model,
    name: str,
    column: Column,
    plates: Sequence[str],
    levels: Sequence[Level],
    first: Array,
    keys: Keys,
    problems: Problems,
) -> None:
    """D117 where no row speaks of an element of a variable that is not partial."""
    variable = model.variable.get(name)
    for index in np.flatnonzero(first < 0)[: 0 if variable is None or variable.role == "partial" else 1].tolist():
        parts: list[str] = []
        for plate, level in zip(reversed(plates), [*reversed(levels), None], strict=False):
            size = keys.counts.get(plate, 0)
            if isinstance(level, int) or (level is None and size):
                parts.append(f"`{keys.names[plate]}` = {keys.label(plate, index % size)}")
                index //= size
            elif level is not None:
                index = int(np.searchsorted(np.cumsum(level), index, "right"))
        fact = f"there is no value of `{name}` for {', '.join(reversed(parts))}"
        advice = f"only a partial variable may have missing values; declare `partial {name}`"
        problems.add("D117", fact, column.origin.file, None, column.label, advice)


def _check_same(
    name: str,
    column: Column,
    plates: Sequence[str],
    ids: Array,
    first: Array,
    keys: Keys,
    union: set[str],
    problems: Problems,
) -> None:
    """D137 where two rows speak of one element: at all where the variable is the deepest, else where they do not agree."""
    again = np.arange(len(ids)) != first[ids]
    deepest = union <= {*plates}
    if not deepest and again.any():
        again &= differ(column, first[ids])
    for row in np.flatnonzero(again)[:1]:
        at = [plate for plate in plates if plate in keys.codes]
        where = keys.told(int(row), at) if at else "all rows"
        fact = f"a second row for {where}" if deepest else f"`{name}` differs between rows of {where}"
        _, number, line = column.origin.locate(int(first[ids[row]]))
        help = f"the first one is row {number}" + (f", in line {line}" if line is not None else "")
        column.report(problems, "D137", fact, 0, int(row), help)


def differ(column: Column, others: Array) -> Array:
    """Where a row's value is another than that of the row given for it."""
    if all(isinstance(level, int) for level in column.levels):
        _, codes = indices_of(column.values)
        mine = codes.reshape(len(others), -1)
        return (mine != mine[others]).any(1)
    rows = [select(column, np.array([i])).values.to_pylist() for i in range(len(others))]
    return np.array([rows[i] != rows[int(other)] for i, other in enumerate(others)])


def _tell(model: Model, keys: Keys, origin: Origin, names: Sequence[str], problems: Problems) -> None:
    """D199: what was taken together."""
    order = sorted(keys.codes, key=lambda name: [plate.name for plate in model.plates].index(name))
    parts: list[str] = []
    for plate in order:
        chain = model.plate[plate].kind == "chain"
        if chain and model.plate[plate].ragged:
            _tell_gap(model, keys, plate, origin, problems)
        if chain:
            _tell_alphabet(keys, plate, origin, problems)
        if reads_position(model, plate):
            _tell_position(model, keys, plate, origin, problems)
        labels = in_order(keys.raw[plate].labels)[:SHOWN] if chain else ()
        more = ", ..." if len(keys.raw[plate].labels) > SHOWN else ""
        parts.append(f"`{plate}` by `{keys.names[plate]}`" + (f", in the order {', '.join(labels)}{more}" if chain else ""))
    problems.warn("D199", f"rows of a long table ({origin.rows}) are taken together: {'; '.join(parts)}", origin.file)


def _tell_gap(model: Model, keys: Keys, plate: str, origin: Origin, problems: Problems) -> None:
    """D189 where numbers along a chain leave some out."""
    outer = [name for name in model.plate[plate].inside if name in keys.codes]
    gap = first_gap(keys.labels[plate], keys.codes[plate], {name: keys.codes[name] for name in outer})
    if gap is not None:
        row, before, after = gap
        where = f" of {keys.told(row, outer)}" if outer else ""
        fact = f"after {before} comes {after} along `{plate}`{where}, as the next element: what is left out is no element"
        advice = "rows without a value make elements of what is left out, if the variable is partial"
        problems.warn("D189", fact, origin.file, keys.names[plate], advice)


def _tell_alphabet(keys: Keys, plate: str, origin: Origin, problems: Problems) -> None:
    """D198 where words order a chain, but for dates that begin with the year."""
    labels = keys.labels[plate]
    if keys.raw[plate].order is not None or all(number_of(label) is not None or DATE.match(label) for label in labels):
        return
    shown = ", ".join(labels[:SHOWN]) + (", ..." if len(labels) > SHOWN else "")
    fact = f"the elements of `{plate}` follow one another in the order of the alphabet: {shown}"
    advice = "if it shall be another, give numbers, dates as 2020-12-31, or an ordered category of Parquet or pandas; "
    advice += f"without a key, by another name than `{plate}`, rows keep the order of the file"
    problems.warn("D198", fact, origin.file, keys.names[plate], advice)


def reads_position(model: Model, plate: str) -> bool:
    """Whether the spec reads which element of a plate one is, as a number."""
    laws = (*(v.law for v in model.variables if v.law is not None), *(guide.law for guide in model.guide))
    values = (*(part for law in laws for part in law_parts(law)), *(let.value for let in (*model.lets, *model.guide_lets)))
    return any(isinstance(part, Position) and part.plate == plate for value in values for part in walk(value))


def _tell_position(model: Model, keys: Keys, plate: str, origin: Origin, problems: Problems) -> None:
    """D188 where the spec reads a plate's own index, and the keys are other numbers, or none."""
    outer = (
        [] if is_shared(model.plate[plate]) else [keys.codes[name] for name in model.plate[plate].inside if name in keys.codes]
    )
    for row, place in enumerate(places(keys.codes[plate], outer, is_shared(model.plate[plate])).tolist()):
        label = keys.labels[plate][int(keys.codes[plate][row])] if keys.labels[plate] else str(place)
        if number_of(label) != place:
            fact = f"`{plate}` in the spec is which element it is, counted from 0, and not the key: here it is {place} where"
            fact += f" column `{keys.names[plate]}` has {label}"
            advice = f"to read the column, declare it: `given when : real` in the plate, and --columns when={keys.names[plate]}"
            problems.warn("D188", fact, origin.file, keys.names[plate], advice)
            return
