"""Labels as the numbers of categories and of elements of plates: in the order that spec or file gives, or else by what occurs.

Where the size is known, whole numbers are taken as they are, from 0, or from 1 if that is what stands there."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.model.model import Model, Variable
from vispec.train.data.arrange import Arranged
from vispec.train.data.columns import Array, Column
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding import values as leaf
from vispec.train.data.encoding.context import Context
from vispec.train.data.encoding.labels import card_of, group_of, in_order, is_whole, label_of
from vispec.train.data.encoding.tokens import indices_of
from vispec.train.data.sizes import Sizes

SHOWN = 8  # labels in a message
BLANKS = {
    ".",
    "-",
    "--",
    "n/a",
    "#n/a",
    "na",
    "nil",
    "none",
    "missing",
}  # labels that may be meant as missing, in small letters


@dataclass(frozen=True)
class Raw:
    """Distinct labels, and for each value its number among them, -1 where it is missing. order: of all labels, where the file
    gives one. file, column: where they stand."""

    labels: list[str]
    indices: Array
    order: tuple[str, ...] | None
    file: str
    column: str


def raw_labels(a: Arranged, problems: Problems) -> Raw:
    return raw_column(a.column, problems)


def raw_column(column: Column, problems: Problems) -> Raw:
    values = column.values
    distinct, indices = indices_of(values)
    if leaf.is_text(values) or pa.types.is_dictionary(values.type):
        distinct = leaf.clean_words(distinct)
    names = [None if isinstance(value, float) and math.isnan(value) else value for value in distinct]
    endless = np.array([isinstance(value, float) and math.isinf(value) for value in distinct] + [False])
    if endless.any():
        leaf.report_all(column, problems, "D119", endless[indices], lambda i: f"{distinct[indices[i]]} is not a finite number")
    labels: dict[str, int] = {}
    places = [
        -1 if name is None or math.inf in (name, -name if isinstance(name, float) else 0) else _place(name, values, labels)
        for name in names
    ]
    if places != [*range(len(places))]:  # several are one, or missing
        indices = np.array([*places, -1], np.int32)[indices]
    return Raw(list(labels), indices, column.order, column.origin.file, column.label)


def _place(value: Any, values: pa.ChunkedArray, labels: dict[str, int]) -> int:
    """The number of a value's label, which is new or not."""
    single = isinstance(value, float) and values.type in (pa.float32(), pa.float16())
    return labels.setdefault(label_of(float(str(np.float32(value))) if single else value), len(labels))


def labels_of(
    model: Model, codes: Mapping[str, Raw], known: Collection[str], sizes: Sizes, part: bool, problems: Problems
) -> dict[str, tuple[str, ...] | None]:
    """For each group its labels in order, or None where they are the numbers from 0 to its size. known: groups to leave out.
    part: other rows may have labels where these have none."""
    members: dict[str, list[str]] = {}
    for name in codes:
        group = group_of(model, model.variable[name])
        if group not in known:
            members.setdefault(group, []).append(name)
    found: dict[str, tuple[str, ...] | None] = {}
    for group, names in members.items():
        type_ = model.variable[names[0]].type
        if type_.labels is None:
            what, raws = type_ if names[1:] else f"`{names[0]} : {type_}`", [codes[name] for name in names]
            none = part and not any(raw.labels or raw.order for raw in raws)
            found[group] = () if none else shared_labels(raws, str(what), card_of(model, type_), sizes, problems)
        else:
            found[group] = tuple(map(label_of, type_.labels))
    return found


def shared_labels(
    parts: Sequence[Raw], what: str, card: int | str | None, sizes: Sizes, problems: Problems
) -> tuple[str, ...] | None:
    """The labels that several columns share."""
    orders = {raw.order for raw in parts if raw.order is not None}
    if len(orders) > 1:
        first, second = sorted(orders)[:2]
        message = f"these labels come in two orders: {', '.join(first[:6])}, and {', '.join(second[:6])}"
        problems.add("D135", message, parts[-1].file, None, parts[-1].column, f"all of {what} share them; give them one order")
    if orders:
        return next(iter(orders))
    warn_blanks(parts, what, problems)
    found = in_order({label for raw in parts for label in raw.labels})
    size = sizes.value(card)
    if size is None and not found:
        help = f"give it: --set {card}=NUMBER" if isinstance(card, str) else None
        fact = f"no row has a value of {what}, which would tell the size {card}"
        problems.add("D127", fact, parts[0].file, None, parts[0].column, help)
    if size is None or not all(map(is_whole, found)):
        return found
    return _numbered(found, size, parts[0], what, problems)


def warn_blanks(parts: Sequence[Raw], what: str, problems: Problems) -> None:
    """D187 where words that often stand for what is missing are labels."""
    for raw in parts:
        if blanks := [repr(label) for label in in_order(raw.labels) if label.lower() in BLANKS]:
            message = f"{', '.join(blanks)}: {'a label' if len(blanks) == 1 else 'labels'} of {what}, not missing"
            advice = "a cell that is missing is empty, `?`, `NA`, `N/A`, `nan` or `null`"
            problems.warn("D187", message, raw.file, raw.column, advice)


def _numbered(found: Sequence[str], size: int, raw: Raw, what: str, problems: Problems) -> tuple[str, ...] | None:
    """Whole numbers where the size is known: from 1 as labels, from 0 as they are. Any others are refused later."""
    inside = [int(label) for label in found if 0 <= int(label) <= size]
    if not inside or inside[0] != 1 or size < 2:
        return None
    if inside[-1] == size:
        problems.warn("D192", f"labels 1 to {size} for {what} of size {size}: 1 is its first", raw.file, raw.column)
        return tuple(str(number + 1) for number in range(size))
    if len(inside) == len(found):
        message = f"labels from 1 to {found[-1]} for {what} of size {size}, which counts from 0: nothing has its first, 0"
        advice = f"if they count from 1, write the labels into the spec: category[{', '.join(_quoted(size))}]"
        problems.warn("D192", message, raw.file, raw.column, advice)
    return None


def _quoted(size: int) -> list[str]:
    numbers = [f'"{number + 1}"' for number in range(size)]
    return numbers if size <= 4 else [*numbers[:2], "...", numbers[-1]]


def category_ids(a: Arranged, variable: Variable, raw: Raw, context: Context) -> tuple[Array, Array]:
    """The numbers of the values, and which are missing."""
    missing = raw.indices < 0
    known = context.encoders.labels.get(group_of(context.model, variable))
    position = {label: i for i, label in enumerate(known)} if known is not None else None
    told = np.array([_number(label, position) for label in raw.labels] + [0], np.int64)
    numbers = told.astype(np.int32 if np.all(told == told.astype(np.int32)) else np.int64)[raw.indices]
    if position is None:
        _check_whole(a, raw, numbers, context.problems)
    elif (numbers < 0).any():
        _report_unknown(a, variable, raw, numbers, known or (), context)
        return np.zeros(len(numbers), np.int32), missing
    card = card_of(context.model, variable.type)
    if card is not None and not context.problems.found:
        _check_card(a, variable, numbers, missing, card, known, context)
    return np.where(missing, np.int32(0), numbers).astype(np.int32, copy=False), missing


WORD = np.iinfo(np.int64).min  # stands for a label that is no number where numbers are wanted


def _number(label: str, position: Mapping[str, int] | None) -> int:
    if position is not None:
        return position.get(label, -1)
    return int(label) if is_whole(label) and len(label) < 19 else WORD


def _check_whole(a: Arranged, raw: Raw, numbers: Array, problems: Problems) -> None:
    leaf.report_all(
        a.column,
        problems,
        "D123",
        numbers == WORD,
        lambda i: f"{raw.labels[raw.indices[i]]!r} is not a whole number, as labels were before",
    )


def _report_unknown(a: Arranged, variable: Variable, raw: Raw, numbers: Array, known: Sequence[str], context: Context) -> None:
    names = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    among = f"those of {variable.type}" if variable.type.labels else "those of the training data"
    if context.training and not variable.type.labels:
        among = "those of the given order" if raw.order is not None else f"1 to {len(known)}"
    told = [f"the label {label!r} is not among {among}" for label in raw.labels]
    _report_each(a, "D123", numbers < 0, raw.indices, lambda i: told[raw.indices[i]], f"known: {names}", context.problems)


def _report_each(
    a: Arranged, code: str, bad: Array, which: Array, message: Callable[[int], str], help: str, problems: Problems
) -> None:
    """One problem for each value that is wrong, at the first place where it stands. which: a number for each value."""
    _, first, counts = np.unique(which[bad], return_index=True, return_counts=True)
    places = dict(zip(np.flatnonzero(bad)[first].tolist(), counts.tolist(), strict=True))
    worst = np.isin(np.arange(len(bad)), [*places])
    leaf.report_all(a.column, problems, code, worst, lambda i: message(i) + times(places[i]), help)


def times(count: int) -> str:
    return f" ({count} times)" if count > 1 else ""


def _check_card(
    a: Arranged,
    variable: Variable,
    numbers: Array,
    missing: Array,
    card: int | str,
    known: Sequence[str] | None,
    context: Context,
) -> None:
    """Values must be below the size, which is learnt here if nothing else told it."""
    if context.sizes.value(card) is None and context.training and known:
        context.sizes.learn(card, len(known), f"the labels of `{variable.name}`")
    size = context.sizes.value(card)
    if size is None:
        return
    what = f"{variable.type}"
    if known is not None and len(known) > size:
        _report_too_many(a, np.where(missing, -1, numbers), known, f"{what} of size {size}", context.problems)
        return
    bad = (((numbers < 0) & (known is None)) | (numbers >= size)) & ~missing  # a label that is not known has been told
    code = "D124" if variable.type.domain == "index" else "D123"
    told = f"; {card} = {size}" if isinstance(card, str) else ""
    advice = f"{what} counts from 0, or from 1 where {size} occurs and 0 does not{told}"
    if isinstance(card, str) and context.training:
        advice += f"; where the data shall tell {card}, leave its value out, and labels are numbered by what occurs"
    zeros = np.flatnonzero((numbers == 0) & ~missing)
    if known is None and len(zeros) and (numbers == size).any():
        row = a.column.locate(len(a.column.levels), int(zeros[0]))[0] + 1
        advice = f"0 occurs too{times(len(zeros))}, first in row {row}, so they do not count from 1; {advice}"
    _report_each(a, code, bad, numbers, lambda i: f"{numbers[i]} is not in 0..{size - 1}", advice, context.problems)


def _report_too_many(a: Arranged, numbers: Array, known: Sequence[str], what: str, problems: Problems) -> None:
    """D125, at a label that occurs least here: it may be a slip of the pen."""
    counts = np.bincount(numbers[numbers >= 0], minlength=len(known))
    rare = min(np.flatnonzero(counts).tolist() or [0], key=lambda code: (counts[code], -code))
    more = ", ..." if len(known) > SHOWN else ""
    message = f"there are {len(known)} labels ({', '.join(known[:SHOWN])}{more}) for {what}; {known[rare]!r} is the rarest here"
    place = int(np.flatnonzero(numbers == rare)[0]) if counts[rare] else 0
    a.column.report(problems, "D125", message + times(int(counts[rare])), len(a.column.levels), place)
