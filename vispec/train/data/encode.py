"""Arranged columns as the arrays that minibatches are cut from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pyarrow as pa

from vispec.model.model import FitEntry, Model, Variable
from vispec.model.types import INTEGER_DOMAINS
from vispec.train.data import values as leaf
from vispec.train.data import vocab as words
from vispec.train.data.arrange import Arranged, Path
from vispec.train.data.arrow import pc
from vispec.train.data.columns import Array, Column, lengths, offsets
from vispec.train.data.diagnostics import LIMIT, Problems
from vispec.train.data.sizes import Sizes
from vispec.train.data.vocab import Encoders, Vocabulary


@dataclass(frozen=True)
class Field:
    """A variable's values: (elements, *tail), elements in the order of the rows and, inside one, of the plates of `path`.

    observed: (elements, *tail plates) bool for a partial variable, else None. rows: False for one outside the data plate."""

    name: str
    path: Path
    values: Array
    observed: Array | None
    integer: bool
    rows: bool = True


@dataclass
class Context:
    """What the encoding of one variable needs to know of the others. `lengths`: of lists, by path of plates."""

    model: Model
    sizes: Sizes
    lengths: Mapping[Path, Array]
    encoders: Encoders
    training: bool
    problems: Problems


def encode(
    model: Model,
    arranged: Mapping[str, Arranged],
    found: Mapping[Path, Array],
    encoders: Encoders | None,
    sizes: Sizes,
    problems: Problems,
) -> tuple[dict[str, Field], Encoders]:
    """All fields, and the encoders that were given or are built from these columns."""
    context = Context(model, sizes, found, encoders or Encoders(), encoders is None, problems)
    tokens = {name: _raw_tokens(a, problems) for name, a in arranged.items() if model.variable[name].type.domain == "token"}
    codes = {name: _raw_codes(a, problems) for name, a in arranged.items() if _is_coded(model, model.variable[name])}
    problems.check()
    if encoders is None:
        context.encoders = Encoders(_vocabularies(model, tokens), _labels(model, codes))
    for vocabulary in context.encoders.vocabularies.values():
        sizes.known[vocabulary.name] = len(vocabulary)
    fields = {}
    for name, a in arranged.items():
        variable = model.variable[name]
        if name in tokens:
            array, missing = _tokens(a, variable, tokens[name], context)
        elif name in codes:
            array, missing = _codes(a, variable, codes[name], context)
        else:
            array, missing = _numbers(a, variable, context)
        if not problems.found:
            fields[name] = _field(a, variable, array, missing, context)
    problems.check()
    return fields, context.encoders


def _field(a: Arranged, variable: Variable, array: Array, missing: Array, context: Context) -> Field:
    """Checks what is missing, and gives the arrays their shapes."""
    shape = _full_shape(a, variable, context)
    events = len(variable.type.shape)
    event = prod(shape[len(shape) - events :])
    plates = shape[: len(shape) - events]
    cells = missing.reshape(-1, event) if event else np.zeros((prod((array.size, *plates)), 0), bool)
    if variable.role != "partial":
        advice = f"only a partial variable may have missing values; declare `partial {variable.name}`"
        leaf.report_all(a.column, context.problems, "D117", missing, lambda i: "the value is missing", advice)
    else:
        some = cells.any(axis=1) & ~cells.all(axis=1)
        leaf.report_all(
            a.column, context.problems, "D117", some, lambda i: "some entries of the vector are missing", width=event
        )
    observed = ~cells.all(axis=1).reshape(-1, *plates) if variable.role == "partial" else None
    data = any(context.model.plate[name].data for name in variable.plates)
    integer = variable.type.domain in INTEGER_DOMAINS
    return Field(variable.name, a.layout.path, array.reshape(-1, *shape), observed, integer, data)


def _full_shape(a: Arranged, variable: Variable, context: Context) -> tuple[int, ...]:
    """The shape of one element after the head; a set of ones becomes a vector."""
    return (*a.shape, context.sizes.value(variable.type.shape[-1]) or 0) if a.sets else a.shape


# ---- numbers and bits


def _numbers(a: Arranged, variable: Variable, context: Context) -> tuple[Array, Array]:
    column, problems, domain = a.column, context.problems, variable.type.domain
    if a.sets:
        return _sets(a, variable, context)
    if domain == "bit":
        return leaf.bits(column, problems)
    if domain in ("index", "tree"):
        return _positions(a, variable, context)
    array, missing = leaf.numbers(column, problems)
    events = len(variable.type.shape)
    leaf.check_support(column, domain, array, missing, prod(a.shape[len(a.shape) - events :]), problems)
    return array, missing


def bit_offset(model: Model, name: str) -> int | None:
    """What `offset : name(k)` in the spec's `fit:` subtracts from each member of a set of ones; None where it says nothing."""
    for entry in model.fit:
        if isinstance(entry, FitEntry) and entry.key == "offset" and entry.value == name:
            by = dict(entry.call)["by"]
            return by if isinstance(by, int) else None
    return None


def _sets(a: Arranged, variable: Variable, context: Context) -> tuple[Array, Array]:
    """A set of ones as a vector of bits."""
    column, problems = a.column, context.problems
    width, offset = context.sizes.value(variable.type.shape[-1]), bit_offset(context.model, variable.name) or 0
    if width is None:
        fact = f"the size {variable.type.shape[-1]} of `{variable.name}` cannot be told from sets of ones"
        problems.add("D127", fact, column.origin.file, None, column.label, f"give it: --set {variable.type.shape[-1]}=NUMBER")
        return np.zeros(0, np.uint8), np.zeros(0, bool)
    depth = len(column.levels) - 1
    level = lengths(column.levels[-1], column.parents(depth))
    members, absent = leaf.integers(column, problems)
    members = members - offset
    advice = f"a list for a bit vector holds the positions of its ones, from {offset} to {offset + width - 1}"
    outside = (members < 0) | (members >= width) | absent

    def message(i: int) -> str:
        what = "a missing value" if absent[i] else str(members[i] + offset)
        return f"{what} is not in {offset}..{offset + width - 1}"

    leaf.report_all(column, problems, "D122", outside, message, advice)
    for i in np.flatnonzero(level < 0)[:LIMIT] if variable.role != "partial" else ():
        column.report(problems, "D117", "the value is missing", depth, int(i))
    owner = np.repeat(np.arange(len(level)), np.maximum(level, 0))
    dense = np.zeros((len(level), width), np.uint8)
    dense[owner[~outside], members[~outside]] = 1
    for i in np.flatnonzero(dense.sum(axis=1, dtype=np.int64) != np.maximum(level, 0))[:1] if not outside.any() else ():
        column.report(problems, "D122", "a position stands twice in the set", depth, int(i), advice)
    return dense.reshape(-1), np.repeat(level < 0, width)


def _positions(a: Arranged, variable: Variable, context: Context) -> tuple[Array, Array]:
    """Elements of a ragged plate, from 0; for a tree, 0 is the root and elements count from 1."""
    array, missing = leaf.integers(a.column, context.problems)
    plate = context.model.plate[variable.type.plate or ""]
    own = (*(name for name in plate.inside if not context.model.plate[name].data), plate.name)
    if own in context.lengths and own[:-1] == a.layout.path[: len(own) - 1]:
        owner = _owners(a, len(own) - 1, context)
        sizes = context.lengths[own][owner]
    elif context.sizes.value(plate.size) is not None:
        sizes = np.full(len(array), context.sizes.value(plate.size))
    else:
        sizes = np.full(len(array), np.iinfo(np.int64).max)
    tree = variable.type.domain == "tree"
    bad = ((array < 0) | (array >= sizes + tree)) & ~missing
    leaf.report_all(
        a.column,
        context.problems,
        "D124",
        bad,
        lambda i: f"{array[i]} is not in 0..{sizes[i] - 1 + tree}",
        _index_help(plate.name, tree),
    )
    if tree and not bad.any() and not missing.any():
        _check_trees(a, array, context)
    return array.astype(np.int32) if not bad.any() else array, missing


def _index_help(plate: str, tree: bool) -> str:
    if tree:
        return f"a head is the number of an element of plate `{plate}`, from 1, and 0 for the root"
    return f"the elements of plate `{plate}` count from 0"


def _owners(a: Arranged, depth: int, context: Context) -> Array:
    """For each flat value, the element after `depth` levels that it stands in."""
    column = a.column
    owner = np.arange(column.parents(depth))
    for d in range(depth, len(column.levels)):
        owner = np.repeat(owner, np.maximum(lengths(column.levels[d], len(owner)), 0))
    return owner


def _check_trees(a: Arranged, heads: Array, context: Context) -> None:
    """Every element must reach the root: square the map from element to head until all paths have had time to end."""
    depth = len(a.layout.head) - 1
    level = lengths(a.column.levels[depth], a.column.parents(depth))
    start = np.repeat(offsets(level, 0)[:-1], level)
    root = len(heads)
    up = np.append(np.where(heads == 0, root, start + heads - 1), root)
    for _ in range(int(level.max(initial=1)).bit_length()):
        up = up[up]
    leaf.report_all(
        a.column, context.problems, "D129", up[:-1] != root, lambda i: "the heads run in a circle and never reach the root"
    )


# ---- tokens


def _raw_tokens(a: Arranged, problems: Problems) -> tuple[list[str], Array]:
    """Distinct tokens, and for each value its number among them (-1: missing)."""
    column = a.column
    values, kind = column.values, column.values.type
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        problems.add("D128", f"`{a.layout.name}` wants tokens, and these are {kind}", column.origin.file, None, column.label)
    if leaf.is_text(values) and a.layout.partial:
        values, _ = leaf.clean_text(values)
    return _distinct(values)


def _distinct(values: pa.ChunkedArray) -> tuple[list[str], Array]:
    if len(values) == 0 or pa.types.is_null(values.type):
        return [], np.full(len(values), -1, np.int32)
    coded = values.dictionary_encode().unify_dictionaries()
    names = coded.chunk(0).dictionary.cast(pa.large_string()).to_pylist()
    return names, np.concatenate([pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False) for chunk in coded.chunks])


def _vocabularies(model: Model, tokens: Mapping[str, tuple[list[str], Array]]) -> dict[str, Vocabulary]:
    """Each vocabulary from all the variables that it serves."""
    built: dict[str, Vocabulary] = {}
    for vocab in model.vocabs:
        counts: Counter[str] = Counter()
        lower = words.settings(vocab)["lower"]
        for name, (distinct, indices) in tokens.items():
            if model.variable[name].type.card == vocab.name:
                seen = np.bincount(indices[indices >= 0], minlength=len(distinct))
                for word, count in zip(distinct, seen.tolist(), strict=True):
                    counts[word.lower() if lower else word] += count
        if counts:
            built[vocab.name] = words.build(vocab, counts)
    return built


def _tokens(a: Arranged, variable: Variable, raw: tuple[list[str], Array], context: Context) -> tuple[Array, Array]:
    distinct, indices = raw
    vocabulary = context.encoders.vocabularies.get(str(variable.type.card))
    if vocabulary is None:
        problem = f"there is no vocabulary {variable.type.card}: its variables hold no token"
        context.problems.add("D127", problem, a.column.origin.file, None, a.column.label)
        return np.zeros(0, np.int32), np.zeros(0, bool)
    ids = np.array([*vocabulary.encode(distinct), 0], np.int32)[indices]
    missing = indices < 0
    if a.layout.sequence and (vocabulary.begin is not None or vocabulary.end is not None):
        return _with_symbols(a, vocabulary, ids, missing)
    return ids, missing


def _with_symbols(a: Arranged, vocabulary: Vocabulary, ids: Array, missing: Array) -> tuple[Array, Array]:
    """Put the begin symbol before and the end symbol after each sequence, but for those that are missing as a whole."""
    depth = len(a.layout.head) - 1
    level = lengths(a.column.levels[depth], a.column.parents(depth))
    real = np.ones(len(level), bool) if a.filled is None else ~a.filled
    begin, end = vocabulary.begin is not None, vocabulary.end is not None
    stops = np.cumsum(level + real * (begin + end))
    starts = stops - level - real * (begin + end)
    inside = np.ones(int(stops[-1]) if len(stops) else 0, bool)
    out = np.zeros(len(inside), np.int32)
    if begin:
        out[starts[real]] = vocabulary.ids[vocabulary.begin or ""]
        inside[starts[real]] = False
    if end:
        out[stops[real] - 1] = vocabulary.ids[vocabulary.end or ""]
        inside[stops[real] - 1] = False
    absent = np.zeros(len(inside), bool)
    out[inside], absent[inside] = ids, missing
    return out, absent


# ---- categories, and indices of plates of fixed size


def _is_coded(model: Model, variable: Variable) -> bool:
    return variable.type.domain == "category" or (
        variable.type.domain == "index" and not model.plate[variable.type.plate or ""].ragged
    )


def _card(model: Model, variable: Variable) -> int | str | None:
    return variable.type.card if variable.type.domain == "category" else model.plate[variable.type.plate or ""].size


def _group(model: Model, variable: Variable) -> str:
    """Variables of one named size share their labels."""
    card = _card(model, variable)
    return card if isinstance(card, str) else variable.name


def _raw_codes(a: Arranged, problems: Problems) -> tuple[list[str] | None, Array, Array]:
    """Text: labels, numbers among them, missing. Numbers (also as text): None, the numbers, missing."""
    if not leaf.is_text(a.column.values):
        return None, *leaf.integers(a.column, problems)
    cleaned, missing = leaf.clean_text(a.column.values)
    labels, indices = _distinct(cleaned)
    return labels, indices, missing


def _as_integers(labels: Sequence[str]) -> Array | None:
    """The labels as whole numbers if all of them are."""
    try:
        numbers = [int(label) for label in labels]
    except ValueError:
        return None
    return np.array(numbers, np.int64) if all(abs(number) < 2**31 for number in numbers) else None


def _labels(model: Model, codes: Mapping[str, tuple[list[str] | None, Array, Array]]) -> dict[str, tuple[str, ...] | None]:
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


def _codes(
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
    bad = ((numbers < 0) | (numbers >= size)) & ~missing
    code = "D124" if variable.type.domain == "index" else "D123"
    advice = f"{what} counts from 0" + (f"; {card} = {size}" if isinstance(card, str) else "")
    leaf.report_all(a.column, context.problems, code, bad, lambda i: f"{numbers[i]} is not in 0..{size - 1}", advice)


def as_lengths(column: Column, problems: Problems) -> Array:
    """A column of plate lengths."""
    array, missing = leaf.integers(column, problems)
    leaf.report_all(column, problems, "D120", (array < 0) | missing, lambda i: "a length is a whole number from 0")
    return array
