"""Columns laid along a variable's axes: text split into elements, widths checked, lists of one plate made to agree.

A variable's axes are its plates inside the data plate and then its event dimensions. The `head` ends with the last ragged
plate and stays nested; the `tail` after it has fixed sizes, so it is a plain array.
"""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import pyarrow as pa

from vispec.model.model import Model, Variable
from vispec.model.types import WHOLE_DOMAINS, Dim
from vispec.train.data.arrow import pc
from vispec.train.data.columns import Array, Column, deepen, fill
from vispec.train.data.diagnostics import LIMIT, Problems
from vispec.train.data.encoding.split import split_all
from vispec.train.data.sizes import Sizes

Path = tuple[str, ...]
MISSING_TEXT = ("", "?", "NA")  # a whole cell of text that says a partial sequence or vector is missing


@dataclass(frozen=True)
class Axis:
    """A plate, or an event dimension (plate None); `size` None where the data tells it."""

    plate: str | None
    size: Dim | None
    ragged: bool

    @property
    def what(self) -> str:
        return f"plate `{self.plate}`" if self.plate else "the vector"


@dataclass(frozen=True)
class Layout:
    """Where a variable's values stand. bits: a bit vector, which may be given as the set of its ones. sequence: its tokens get
    the begin and end symbols of their vocabulary."""

    name: str
    head: tuple[Axis, ...]
    tail: tuple[Axis, ...]
    partial: bool
    bits: bool = False
    sequence: bool = False

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.head, *self.tail)

    @property
    def path(self) -> Path:
        return tuple(axis.plate or "" for axis in self.head)


def layout_of(model: Model, variable: Variable) -> Layout:
    """The axes of a variable after the rows; outside the data plate its first plate's elements are the rows."""
    plates = [model.plate[name] for name in variable.plates]
    inner = [plate for plate in plates if not plate.data] if any(plate.data for plate in plates) else plates[1:]
    over = variable.type.plate if variable.type.domain in WHOLE_DOMAINS else None
    if over is not None and over not in variable.plates:
        inner.append(model.plate[over])  # a tree holds the head of each element
    axes = [Axis(plate.name, plate.size, plate.ragged) for plate in inner]
    events = [Axis(None, dim, False) for dim in variable.type.stored]
    depth = max((i + 1 for i, axis in enumerate(axes) if axis.ragged), default=0)
    return Layout(
        variable.name,
        tuple(axes[:depth]),
        (*axes[depth:], *events),
        variable.role == "partial",
        bits=variable.type.domain == "bit" and len(events) == 1,
        sequence=variable.type.domain == "token" and depth > 0 and depth == len(axes) and not events,
    )


@dataclass
class Arranged:
    """A column whose levels begin with those of the head; each element after them holds `shape` values.

    sets: each holds a list of any length instead. filled: which of the head's innermost lists were missing, if any."""

    layout: Layout
    column: Column
    shape: tuple[int, ...]
    sets: bool = False
    filled: Array | None = None


def arrange(
    column: Column, layout: Layout, sizes: Sizes, chars: bool, offset: int | None, problems: Problems
) -> Arranged | None:
    """Lay a column along the axes; None where it cannot be, which is then a problem."""
    whole, column = column, _split(column, layout, chars)
    if column is not whole and not chars:
        _check_scalars(column, layout, problems)
    column = deepen(column, len(layout.head) + len(layout.tail))
    depth = len(layout.head)
    if len(column.levels) < depth or (len(column.levels) > depth and not layout.tail and not _only_ones(column, depth)):
        _report_depth(column, layout, problems)
        return None
    if not layout.tail:
        return Arranged(layout, replace(column, levels=column.levels[:depth]), ())
    if (
        layout.bits
        and len(column.levels) == depth + len(layout.tail)
        and _is_set(column, offset, sizes.value(layout.tail[-1].size))
    ):
        return _arrange_sets(column, layout, sizes, problems)
    before = len(problems.found)
    if column.origin.rows > 1 and _is_single(column, depth, column is not whole):
        _report_scalars(column, layout, sizes, problems)
    column = _even(column, layout, sizes, problems)
    shape = _shape(column, layout, sizes, problems) if len(problems.found) == before else None
    return None if shape is None else Arranged(layout, column, shape)


def _is_text(column: Column) -> bool:
    return pa.types.is_large_string(column.values.type) or pa.types.is_string(column.values.type)


def _split(column: Column, layout: Layout, chars: bool) -> Column:
    """Text that holds a sequence or a vector becomes a list: of the words between ASCII white space, or of characters."""
    needed = len(layout.head) + (len(layout.tail) > 0)
    if not _is_text(column) or len(column.levels) != needed - 1:
        return column
    texts = column.values
    if layout.partial:
        marks = pc.is_in(texts, value_set=pa.array(MISSING_TEXT, texts.type))
        texts = pc.if_else(marks, pa.scalar(None, texts.type), texts)
    numbered = layout.sequence and not layout.partial and not chars  # nothing but the numbers of words is wanted
    pieces = split_all(texts) if numbered else [_characters(chunk) if chars else _words(chunk) for chunk in texts.chunks]
    if not pieces:
        return replace(column, levels=(*column.levels, np.zeros(0, np.int64)))
    level = np.concatenate([level for level, _ in pieces])
    return replace(column, levels=(*column.levels, level), values=pa.chunked_array([values for _, values in pieces]))


def by_columns(plate: str | None) -> str:
    """How a long table says in which element of a plate a row stands."""
    key = f"--index {plate}=COLUMN"
    return f"if rows together make up its elements, say by which columns, as {key}, with one for the plate around it"


def _check_scalars(column: Column, layout: Layout, problems: Problems) -> None:
    """D138 where a table has one value in each row for a variable that has several."""
    level = column.levels[-1]
    if column.anonymous or column.source is not None or isinstance(level, int) or not layout.head or layout.tail:
        return
    if (level == 1).sum() > 1 and (level <= 1).all():
        plate = layout.head[-1].plate
        fact = f"every row has one element of plate `{plate}`"
        advice = f"{by_columns(plate)}; lists of one element can be given as JSON lines, [1]"
        if layout.sequence:
            problems.warn("D138", fact, column.origin.file, column.label, advice)
        else:
            problems.add("D138", fact, column.origin.file, None, column.label, advice)


def _is_single(column: Column, depth: int, split: bool) -> bool:
    """Whether there is one value and no list after so many levels. split: lists are the words of cells."""
    level = column.levels[depth] if len(column.levels) == depth + 1 else 0
    return len(column.levels) == depth or (split and not isinstance(level, int) and bool((level == 1).all()))


def _report_scalars(column: Column, layout: Layout, sizes: Sizes, problems: Problems) -> None:
    """D138 where single values would be all that tells how many elements a plate has."""
    for axis in [axis for axis in layout.tail if axis.plate is not None and sizes.value(axis.size) is None][:1]:
        fact = f"every row has one value, and nothing says how many elements plate `{axis.plate}` has"
        gather = f"if columns do, gather them, as --columns {layout.name}=a..d; for one, --set {axis.size}=1"
        advice = f"{by_columns(axis.plate)}; {gather}"
        problems.add("D138", fact, column.origin.file, None, column.label, advice)


def _words(chunk: pa.Array) -> tuple[Array, pa.Array]:
    trimmed = pc.ascii_trim_whitespace(chunk)
    lists = pc.ascii_split_whitespace(trimmed)
    level = pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = pc.fill_null(pc.equal(trimmed, ""), False).to_numpy(zero_copy_only=False)
    values = pc.list_flatten(lists)
    if empty.any():
        level[empty] = 0
        values = values.filter(pc.not_equal(values, ""))
    return level, values


def _characters(chunk: pa.Array) -> tuple[Array, pa.Array]:
    texts = chunk.to_pylist()
    level = np.array([-1 if text is None else len(text) for text in texts], np.int64)
    return level, pa.array(list("".join(text for text in texts if text)), pa.large_string())


def _only_ones(column: Column, depth: int) -> bool:
    return all(isinstance(level, int) and level == 1 for level in column.levels[depth:])


def _report_depth(column: Column, layout: Layout, problems: Problems) -> None:
    wanted = " of ".join(["lists"] * (len(layout.head) + (len(layout.tail) > 0))) or "single values"
    told = " of ".join(["lists"] * len(column.levels)) or "single values"
    places = ", ".join(axis.what for axis in (*layout.head, *layout.tail))
    advice = (
        f"`{layout.name}` has one level of lists for each of: {places}" if places else f"`{layout.name}` is one value a row"
    )
    if layout.head and not column.levels:
        advice += f"; or say by which columns rows are taken together, as --index {layout.head[-1].plate}=COLUMN"
    problems.add("D114", f"the rows are {told}, not {wanted}", column.origin.file, None, column.label, advice)


def _is_set(column: Column, offset: int | None, width: int | None) -> bool:
    """Whether lists for a bit vector are sets of ones: an offset is stated, or they are not all 0/1 lists of the full width."""
    if offset is not None:
        return True
    level = column.levels[-1]
    if isinstance(level, int) or (not pa.types.is_integer(column.values.type) and not _is_text(column)):
        return False
    present = level[level >= 0]
    if width is None and len(present):
        width = int(present[0])
    if not np.all(present == width):
        return True
    values = pc.unique(column.values).to_pylist()
    return any(value not in (0, 1, None) for value in values) if not _is_text(column) else False


def _arrange_sets(column: Column, layout: Layout, sizes: Sizes, problems: Problems) -> Arranged | None:
    """The innermost lists stay; plates of fixed size between the head and the bits are checked as usual."""
    outer = replace(layout, tail=layout.tail[:-1])
    before = len(problems.found)
    sets = column.levels[-1]
    inner = replace(column, levels=column.levels[:-1])
    shape = _shape(inner, outer, sizes, problems) if layout.tail[:-1] else ()
    if shape is None or len(problems.found) > before:
        return None
    return Arranged(layout, replace(column, levels=(*inner.levels, sets)), shape, sets=True)


def _even(column: Column, layout: Layout, sizes: Sizes, problems: Problems) -> Column:
    """Make each level of the tail one number, and fill missing vectors of a partial variable with missing values."""
    depth = len(layout.head)
    for d in range(depth, len(column.levels)):
        level = column.levels[d]
        if isinstance(level, int):
            continue
        aligned = len(column.levels) == depth + len(layout.tail)  # else all of the tail is to be read as one vector
        axis = layout.tail[d - depth] if aligned else layout.tail[-1]
        wanted = _width(level, axis, layout, sizes, aligned)
        bad = np.flatnonzero((level >= 0) & (level != wanted))
        known = aligned and isinstance(axis.size, str) and sizes.value(axis.size) is not None
        cause = f" ({sizes.origin(axis.size)})" if known else ""
        for i in bad[:LIMIT]:
            message = f"{axis.what} has {level[i]} values, not {wanted}{cause}"
            column.report(problems, "D116", message, d, int(i))
        problems.more += max(0, len(bad) - LIMIT)
        if len(bad):
            return column
        column = column if np.all(level >= 0) else fill(column, d, np.full(len(level), wanted, np.int64))
        column = replace(column, levels=(*column.levels[:d], wanted, *column.levels[d + 1 :]))
    return column


def _width(level: Array, axis: Axis, layout: Layout, sizes: Sizes, aligned: bool) -> int:
    """How long the lists of a level should be: what the axis says, or what the first of them is."""
    known = sizes.value(axis.size) if aligned else None
    if known is not None:
        return known
    present = level[level >= 0]
    if len(present):
        return int(present[0])
    return 0 if aligned else prod(sizes.value(axis.size) or 1 for axis in layout.tail)


def _shape(column: Column, layout: Layout, sizes: Sizes, problems: Problems) -> tuple[int, ...] | None:
    """The tail's sizes, learnt where they were unknown."""
    depth = len(layout.head)
    widths = [level if isinstance(level, int) else int(level[0]) if len(level) else 0 for level in column.levels[depth:]]
    known = [sizes.value(axis.size) for axis in layout.tail]
    if len(widths) != len(known):
        width, unknown = prod(widths), known.count(None)
        rest = prod(size for size in known if size is not None)
        if unknown > 1 or rest == 0 or (width % rest if unknown else width != rest):
            wanted = " x ".join("?" if size is None else str(size) for size in known)
            message = f"there are {width} values a row for `{layout.name}`, not {wanted}"
            problems.add("D116", message, column.origin.file, None, column.label, _width_help(column))
            return None
        widths = [width // rest if size is None else size for size in known]
    for axis, width in zip(layout.tail, widths, strict=True):
        if width == 0:
            problems.add("D116", f"{axis.what} has no values", column.origin.file, None, column.label, _width_help(column))
            return None
        if not sizes.learn(axis.size, width, f"column `{column.label}` of {column.origin.file}"):
            message = f"{axis.what} has {width} values, not {sizes.value(axis.size)} ({sizes.origin(axis.size)})"
            problems.add("D116", message, column.origin.file, None, column.label, _width_help(column))
            return None
    return tuple(widths)


def _width_help(column: Column) -> str | None:
    return (
        f"it was gathered from {', '.join(column.names[:8])}{', ...' if len(column.names) > 8 else ''}"
        if column.names
        else None
    )
