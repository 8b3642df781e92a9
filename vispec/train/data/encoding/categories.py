"""Labels and numbers as categories, and as indices of plates of fixed size."""

from collections.abc import Mapping, Sequence

import numpy as np

from vispec.model.model import Model, Variable
from vispec.train.data.arrange import Arranged
from vispec.train.data.columns import Array
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding import values as leaf
from vispec.train.data.encoding.context import Context
from vispec.train.data.encoding.tokens import distinct_of


def is_coded(model: Model, variable: Variable) -> bool:
    return variable.type.domain == "category" or (
        variable.type.domain == "index" and not model.plate[variable.type.plate or ""].ragged
    )


def _card(model: Model, variable: Variable) -> int | str | None:
    return variable.type.card if variable.type.domain == "category" else model.plate[variable.type.plate or ""].size


def _group(model: Model, variable: Variable) -> str:
    """Variables of one named size share their labels."""
    card = _card(model, variable)
    return card if isinstance(card, str) else variable.name


def raw_codes(a: Arranged, problems: Problems) -> tuple[list[str] | None, Array, Array]:
    """Text: labels, numbers among them, missing. Numbers (also as text): None, the numbers, missing."""
    if not leaf.is_text(a.column.values):
        return None, *leaf.integers(a.column, problems)
    cleaned, missing = leaf.clean_text(a.column.values)
    labels, indices = distinct_of(cleaned)
    return labels, indices, missing


def _as_integers(labels: Sequence[str]) -> Array | None:
    """The labels as whole numbers if all of them are."""
    try:
        numbers = [int(label) for label in labels]
    except ValueError:
        return None
    return np.array(numbers, np.int64) if all(abs(number) < 2**31 for number in numbers) else None


def labels_of(model: Model, codes: Mapping[str, tuple[list[str] | None, Array, Array]]) -> dict[str, tuple[str, ...] | None]:
    """For each group its labels in order, or None where they all are whole numbers."""
    seen: dict[str, set[str]] = {}
    texts: dict[str, bool] = {}
    for name, (labels, indices, missing) in codes.items():
        group = _group(model, model.variable[name])
        if labels is None:
            labels = [str(number) for number in np.unique(indices[~missing]).tolist()]
        seen.setdefault(group, set()).update(labels)
        texts[group] = texts.get(group, False) or _as_integers(labels) is None
    return {group: tuple(sorted(seen[group])) if texts[group] else None for group in seen}


def category_ids(
    a: Arranged, variable: Variable, raw: tuple[list[str] | None, Array, Array], context: Context
) -> tuple[Array, Array]:
    labels, indices, missing = raw
    known = context.encoders.labels.get(_group(context.model, variable))
    if known is None:
        numbers = _plain_codes(a, labels, indices, missing, context.problems)
    else:
        numbers = _labelled(a, labels, indices, missing, known, context.problems)
    card = _card(context.model, variable)
    if card is not None:
        _check_card(a, variable, numbers, missing, card, known, context)
    return np.where(missing, 0, numbers).astype(np.int32), missing


def _plain_codes(a: Arranged, labels: list[str] | None, indices: Array, missing: Array, problems: Problems) -> Array:
    if labels is None:
        return indices
    numbers = [_as_integers([label]) for label in labels]
    wrong = np.array([number is None for number in numbers] + [False])[indices]
    leaf.report_all(
        a.column,
        problems,
        "D123",
        wrong & ~missing,
        lambda i: f"{labels[indices[i]]!r} is not a whole number, as labels were before",
    )
    return np.array([0 if number is None else int(number[0]) for number in numbers] + [0], np.int64)[indices]


def _labelled(
    a: Arranged, labels: list[str] | None, indices: Array, missing: Array, known: Sequence[str], problems: Problems
) -> Array:
    if labels is None:
        distinct, inverse = np.unique(indices, return_inverse=True)
        labels, indices = [str(number) for number in distinct.tolist()], inverse
    position = {label: i for i, label in enumerate(known)}
    numbers = np.array([position.get(label, -1) for label in labels] + [0], np.int64)[np.where(missing, -1, indices)]
    names = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    leaf.report_all(
        a.column,
        problems,
        "D123",
        numbers < 0,
        lambda i: f"the label {labels[indices[i]]!r} is not among those of the training data",
        f"known: {names}",
    )
    return numbers


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
    top = len(known) if known is not None else int(numbers[~missing].max(initial=0)) + 1
    size = context.sizes.value(card)
    if size is None and context.training:
        context.sizes.learn(card, top, f"the values of `{variable.name}`")
        size = context.sizes.value(card)
    if size is None:
        return
    what = f"{variable.type}"
    if known is not None and len(known) > size:
        message = f"there are {len(known)} labels ({', '.join(known[:6])}, ...) for {what} of size {size}"
        context.problems.add("D125", message, a.column.origin.file, None, a.column.label)
        return
    bad = (((numbers < 0) & (known is None)) | (numbers >= size)) & ~missing  # a label that is not known has been told
    code = "D124" if variable.type.domain == "index" else "D123"
    advice = f"{what} counts from 0" + (f"; {card} = {size}" if isinstance(card, str) else "")
    leaf.report_all(a.column, context.problems, code, bad, lambda i: f"{numbers[i]} is not in 0..{size - 1}", advice)
