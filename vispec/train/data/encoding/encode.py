"""Arranged columns as the arrays that minibatches are cut from."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from vispec.model.model import FitEntry, Model, Variable
from vispec.model.types import INTEGER_DOMAINS
from vispec.train.data.arrange import Arranged, Path
from vispec.train.data.arrow import give_back
from vispec.train.data.checks.trees import UNKNOWN, check_trees
from vispec.train.data.columns import Array, Column, emptied, lengths
from vispec.train.data.diagnostics import LIMIT, Problems
from vispec.train.data.encoding import values as leaf
from vispec.train.data.encoding.brackets import parses, words_of
from vispec.train.data.encoding.categories import category_ids, labels_of, raw_labels
from vispec.train.data.encoding.context import Context
from vispec.train.data.encoding.labels import is_coded
from vispec.train.data.encoding.stretches import stretches
from vispec.train.data.encoding.tokens import raw_tokens, token_ids, vocabularies
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.data.sizes import Sizes


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


def encode(
    model: Model,
    arranged: Mapping[str, Arranged],
    found: Mapping[Path, Array],
    encoders: Encoders | None,
    more: bool,
    keyed: Mapping[str, tuple[str, ...] | None],
    sizes: Sizes,
    part: bool,
    problems: Problems,
) -> tuple[dict[str, Field], Encoders]:
    """All fields, and the encoders that were given or are built from these columns; with `more`, both. keyed: labels that keys
    of plates told already. part: these are some of the rows."""
    context = Context(model, sizes, found, encoders or Encoders(), encoders is None or more, problems)
    tokens = {name: raw_tokens(a, problems) for name, a in arranged.items() if model.variable[name].type.domain == "token"}
    codes = {name: raw_labels(a, problems) for name, a in arranged.items() if is_coded(model, model.variable[name].type)}
    coded = [arranged[name] for name in (*tokens, *codes)]
    size = sum(a.column.values.nbytes for a in coded)
    for a in coded:
        a.column = emptied(a.column)
    give_back(size)
    problems.check()
    wholes = stretches(model, arranged, tokens, found, sizes)
    tokens |= wholes
    if context.training:
        labels = labels_of(model, codes, keyed, sizes, part, problems) | dict(keyed)
        more_ = [
            words_of(a, model.variable[name]) for name, a in arranged.items() if model.variable[name].type.domain == "parse"
        ]
        built = Encoders(vocabularies(model, tokens, context.encoders.vocabularies, more_), labels)
        context.encoders = built.under(context.encoders)
    for vocabulary in context.encoders.vocabularies.values():
        sizes.known[vocabulary.name] = len(vocabulary)
    fields = {}
    for name, a in arranged.items():
        variable = model.variable[name]
        if name in tokens:
            array, missing = token_ids(a, variable, tokens.pop(name), context)
        elif name in codes:
            array, missing = category_ids(a, variable, codes.pop(name), context)
        else:
            array, missing = _numbers(a, variable, context)
        if not problems.found:
            fields[name] = _field(a, variable, array, missing, context)
    problems.check()
    for name in wholes:
        fields[name] = _whole(model.variable[name], arranged, *wholes[name], context)
    return fields, context.encoders


def _whole(variable: Variable, arranged: Mapping[str, Arranged], words: list[str], at: Array, context: Context) -> Field:
    """What the stretches from each element on are; past the end of a sequence the first word of the vocabulary."""
    vocabulary, (_, of) = context.encoders.vocabularies[str(variable.type.card)], variable.type.whole_of or ("", "")
    a, ids = arranged[of], np.array([*vocabulary.encode(words), 0], np.int32)[at]
    if (ids < 0).any():
        word = words[at[np.flatnonzero(ids < 0)[0]]]
        message = f"`{word}` is not in the vocabulary {vocabulary.name}, which has no unknown words"
        help = "leave out `unknown=false`, and stretches that the training data do not have are unlikely"
        context.problems.add("D139", message, a.column.origin.file, None, a.column.label, help)
        context.problems.check()
    longest = context.sizes.value(variable.type.shape[0]) or 0
    data = any(context.model.plate[name].data for name in variable.plates)
    return Field(variable.name, a.layout.path, ids.reshape(-1, *a.shape, longest), None, True, data)


def _field(a: Arranged, variable: Variable, array: Array, missing: Array, context: Context) -> Field:
    """Checks what is missing, and gives the arrays their shapes."""
    shape = _full_shape(a, variable, context)
    events = len(variable.type.stored)
    event = prod(shape[len(shape) - events :])
    plates = shape[: len(shape) - events]
    cells = missing.reshape(-1, event) if event else np.zeros((prod((array.size, *plates)), 0), bool)
    if variable.role != "partial":
        advice = f"only a partial variable may have missing values; declare `partial {variable.name}`"
        advice += ", or leave such rows out: --drop-missing"
        leaf.report_all(a.column, context.problems, "D117", missing, lambda i: "the value is missing", advice)
    else:
        some = cells.any(axis=1) & ~cells.all(axis=1)
        advice = (
            "a vector is missing as a whole: where its entries are laws of their own, open a plate of that size and declare"
        )
        advice += f" `partial {variable.name} : {variable.type.domain}` there; or leave such rows out: --drop-missing"
        first = np.zeros_like(cells)
        first[some, cells[some].argmax(axis=1)] = True
        message = "this entry of the vector is missing, and others are not"
        leaf.report_all(a.column, context.problems, "D117", first.reshape(-1), lambda i: message, advice)
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
    if domain == "parse":
        return parses(a, variable, context)
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
    if tree and not bad.any():
        check_trees(a, np.where(missing, UNKNOWN, array), variable, context.problems)
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


def as_lengths(column: Column, problems: Problems) -> Array:
    """A column of plate lengths."""
    array, missing = leaf.integers(column, problems)
    leaf.report_all(column, problems, "D120", (array < 0) | missing, lambda i: "a length is a whole number from 0")
    return array
