"""From files to a Dataset: match columns to variables, lay them along the plates, encode their values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vispec.model.model import Model, Plate, Variable
from vispec.train.data.agree import agree
from vispec.train.data.arrange import Arranged, Layout, Path, arrange, layout_of
from vispec.train.data.arrow import give_back
from vispec.train.data.checks.order import warn_of_order, warn_of_tables
from vispec.train.data.checks.scales import warn_of_scales
from vispec.train.data.checks.short import check_short
from vispec.train.data.checks.unmet import check_unmet, find_unmet
from vispec.train.data.columns import Array, Column, Origin, emptied
from vispec.train.data.dataset import Dataset, Ragged
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.brackets import bracketed
from vispec.train.data.encoding.encode import Field, as_lengths, bit_offset, encode
from vispec.train.data.encoding.subwords import in_pieces
from vispec.train.data.encoding.values import report_all
from vispec.train.data.encoding.vocab import Encoders, settings
from vispec.train.data.matching.drop import drop_missing
from vispec.train.data.matching.long import regroup
from vispec.train.data.matching.match import Matched, match
from vispec.train.data.matching.single import as_one_row
from vispec.train.data.sizes import Sizes


def load(
    model: Model,
    arguments: Sequence[str],
    columns: Mapping[str, tuple[str, ...]] | None = None,
    encoders: Encoders | None = None,
    sizes: Mapping[str, int] | None = None,
    optional: Collection[str] = (),
    more: bool = False,
    absent: Collection[str] = (),
    index: Mapping[str, str] | None = None,
    drop: bool = False,
    remembered: Collection[str] = (),
    recalled: Collection[str] = (),
    spare: bool = False,
    part: bool = False,
) -> Dataset:
    """Read data for a model; raises DataError with all that is wrong in it.

    arguments: paths, or `name=path` for files with one variable each, aligned row by row. columns: which columns feed a
    variable (names; "#3" and "#1..13" by position; "*" all that are left). encoders: those of the training data, None to
    build them from this. sizes: by name, over those of the spec; for validation data, the training data's.
    optional: variables whose columns may be absent, such as those to be predicted. more: build also the encoders that
    `encoders` lacks. absent: partial variables of which there are no values. index: by plate, the column that says in which of
    its elements a row stands. drop: leave out rows in which a value is missing that must be there. remembered: plates
    whose columns of `index` need not be there. recalled: variables whose `columns` hold for files that have them. spare: rows
    that read elements of parameters which the training data did not meet are kept, and known as such. part: these are
    some of the rows, of which alone nothing has to hold that holds of all.
    """
    problems = Problems()
    known = Sizes(model, sizes or {})
    matched = match(model, arguments, columns or {}, problems, optional, absent, index, remembered, recalled)
    problems.check()
    matched, dropped = drop_missing(model, matched) if drop else (matched, "")
    training = encoders is None or more
    matched, keyed = regroup(model, matched, encoders or Encoders(), training, known, problems)
    tables: tuple[str, ...] = ()
    if model.single is not None:
        matched, tables = as_one_row(model, matched, known, problems)
        tables += tuple(plate for plate, column in matched.keys.items() if column.label in matched.rows)
    origin = _rows(model, matched, problems)
    arranged, counted = _arrange(model, matched, origin, known, problems)
    problems.check()
    arranged, encoders = in_pieces(model, arranged, encoders, training, problems)
    problems.check()
    size = sum(column.values.nbytes for column in matched.columns.values())
    matched = replace(matched, columns={name: emptied(column) for name, column in matched.columns.items()})
    give_back(size)
    found = agree(model, arranged, {name: _extra(model, name) for name in arranged}, known, problems)
    for plate, column in counted.items():
        found[_own_path(model, model.plate[plate])] = as_lengths(column, problems)
    check_short(model, found, arranged, problems)
    fields, built = encode(model, arranged, found, encoders, training, keyed, known, part, problems)
    for dim, value, why in known.broken():
        message = f"{dim} is {known.value(dim) or 'unknown'}, and the data has {value} ({why})"
        problems.add("D116", message, origin.file, help="give the size with --set")
    if model.weight in fields:
        _check_weights(fields[model.weight].values, arranged[model.weight].column, part, problems)
    problems.check()
    told, unmet = (model, fields, arranged, found, built, known, problems), frozenset[int]()
    if training:
        built = replace(built, unmet=find_unmet(*told))
        warn_of_scales(model, fields, arranged, problems)
        warn_of_order(model, arranged, built, problems)
        warn_of_tables(model, matched, built, problems)
        _warn_of_silence(fields, matched, problems)
    else:
        unmet = check_unmet(*told, spare)
        problems.check()
    gathered = {name: column.names for name, column in matched.columns.items() if column.names}
    weight = model.weight if model.weight in fields else None
    dataset = _dataset(model, fields, found, origin.rows, built, known, problems)
    return replace(
        dataset,
        columns=gathered,
        weight=weight,
        tables=tables,
        asked=matched.names,
        dropped=dropped,
        keys=matched.rows,
        unmet=unmet,
    )


def _warn_of_silence(fields: Mapping[str, Field], matched: Matched, problems: Problems) -> None:
    """D195 for columns of partial variables that are empty."""
    for name, field in fields.items():
        if name in matched.columns and field.observed is not None and not field.observed.any():
            problems.warn("D195", f"no row has a value of `{name}`", matched.columns[name].origin.file, name)


def _check_weights(values: Array, column: Column, part: bool, problems: Problems) -> None:
    """Rows stand for so many rows each, and together for some."""
    advice = "a row of weight w stands for w rows; one of weight 0 for none"
    bad = ~((values >= 0) & np.isfinite(values))
    report_all(column, problems, "D120", bad, lambda i: f"{values[i]} is no weight (a number of at least 0)", advice)
    if not part and not bad.any() and not values.any():
        problems.add("D120", "the weights are all 0, so there are no data", column.origin.file, None, column.label, advice)


def _rows(model: Model, matched: Matched, problems: Problems) -> Origin:
    """The rows of the data plate; all columns that vary over it must have as many."""
    local = {
        name: c for name, c in matched.columns.items() if name not in model.variable or _varies(model, model.variable[name])
    }
    origin = matched.origin or (next(iter(local.values())).origin if local else next(iter(matched.columns.values())).origin)
    for name, column in local.items():
        if column.origin.rows != origin.rows:
            message = f"there are {column.origin.rows} rows for `{name}`, but {origin.file} has {origin.rows}"
            problems.add("D113", message, column.origin.file, None, column.label, "aligned files have the same number of rows")
    problems.check()
    return origin


def _varies(model: Model, variable: Variable) -> bool:
    return any(model.plate[name].data for name in variable.plates)


def _arrange(
    model: Model, matched: Matched, origin: Origin, known: Sizes, problems: Problems
) -> tuple[dict[str, Arranged], dict[str, Column]]:
    """Columns along the axes of their variables, in the order of the spec; and columns of lengths by plate."""
    arranged: dict[str, Arranged] = {}
    chars = {vocab.name: settings(vocab)["chars"] for vocab in model.vocabs}
    data = [variable for variable in model.variables if variable.role != "latent" and variable.type.whole_of is None]
    for variable in sorted(data, key=lambda variable: variable.name not in matched.columns):  # absent ones tell no size
        column = matched.columns.get(variable.name) or _absent(variable, origin)
        if variable.name not in matched.columns and variable.role != "partial":
            continue
        by_characters = variable.type.domain == "token" and chars.get(str(variable.type.card), False)
        layout = layout_of(model, variable)
        laid = bracketed(column, layout, problems) if variable.type.domain == "parse" else column
        placed = laid and arrange(laid, layout, known, by_characters, bit_offset(model, variable.name), problems)
        if placed is not None:
            arranged[variable.name] = placed
            _check_global(model, variable, column, known, problems)
    counted: dict[str, Column] = {}
    for plate in model.plates:
        if plate.length_key in matched.columns and plate.length_key not in model.variable:
            outer = Layout(plate.length_key, (), (), False)
            placed = arrange(matched.columns[plate.length_key], outer, known, False, None, problems)
            if placed is not None:
                counted[plate.name] = placed.column
    return {variable.name: arranged[variable.name] for variable in data if variable.name in arranged}, counted


def _absent(variable: Variable, origin: Origin) -> Column:
    """A partial variable without a column: every value is missing."""
    return Column(variable.name, (), pa.chunked_array([pa.nulls(origin.rows)]), origin)


def _check_global(model: Model, variable: Variable, column: Column, known: Sizes, problems: Problems) -> None:
    """Outside the data plate, the rows of a variable's file are the elements of its first plate."""
    if _varies(model, variable):
        return
    rows = column.origin.rows
    size = model.plate[variable.plates[0]].size if variable.plates else 1
    if not known.learn(size, rows, f"the rows of {column.origin.file}"):
        message = f"{rows} rows for `{variable.name}`, one for each of {known.value(size)} elements wanted"
        problems.add("D113", message, column.origin.file, None, column.label, f"give its own file: {variable.name}=FILE")


def _extra(model: Model, name: str) -> int:
    """How many symbols the variable's vocabulary puts around each sequence."""
    variable = model.variable[name]
    if variable.type.domain != "token" or not layout_of(model, variable).sequence:
        return 0
    chosen = next((settings(vocab) for vocab in model.vocabs if vocab.name == variable.type.card), None)
    return 0 if chosen is None else (chosen["begin"] is not None) + (chosen["end"] is not None)


def _own_path(model: Model, plate: Plate) -> Path:
    """The plates of its first opening, without the data plate, and itself."""
    return (*(name for name in plate.inside if not model.plate[name].data), plate.name)


def _dataset(
    model: Model,
    fields: Mapping[str, Field],
    found: Mapping[Path, Array],
    rows: int,
    encoders: Encoders,
    known: Sizes,
    problems: Problems,
) -> Dataset:
    ragged = {}
    for path, lists in found.items():
        bounds = np.concatenate(([0], np.cumsum(lists, dtype=np.int64)))
        own = _own_path(model, model.plate[path[-1]])
        ragged[path] = Ragged(np.append(bounds, bounds[-1]), own if own in found else path)
    keys = {}
    for plate in model.plates:
        path = _own_path(model, plate)
        if plate.ragged and path in found:
            keys[path] = plate.length_key
    observed = tuple(
        (v.name, tuple(axis.plate for axis in (*layout.head, *layout.tail) if axis.plate))
        for v, layout in ((v, layout_of(model, v)) for v in model.variables)
        if v.role in ("observed", "partial") and v.name in fields and fields[v.name].rows
    )
    sizes = {name: known.known[name] for name in known.names if name in known.known}
    padded = {name: _padded(field) for name, field in fields.items()}
    return Dataset(padded, ragged, keys, observed, sizes, encoders, rows, None, tuple(problems.warnings))


def _padded(field: Field) -> Field:
    """With one more element, of zeros, for padding to point at."""
    if not field.path:
        return field

    def grow(array: Array) -> Array:
        return np.concatenate((array, np.zeros((1, *array.shape[1:]), array.dtype)))

    observed = None if field.observed is None else grow(field.observed)
    return Field(field.name, field.path, grow(field.values), observed, field.integer, field.rows)
