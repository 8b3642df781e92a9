"""Text as ids of a vocabulary."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.model.model import Model, Variable
from vispec.model.types import Dim
from vispec.train.data.arrange import Arranged
from vispec.train.data.arrow import pc
from vispec.train.data.columns import Array, lengths
from vispec.train.data.diagnostics import DataDiagnostic, DataError, Problems
from vispec.train.data.encoding import values as leaf
from vispec.train.data.encoding import vocab as words
from vispec.train.data.encoding.context import Context
from vispec.train.data.encoding.vocab import Vocabulary
from vispec.train.data.files import not_utf8, opened, whole

COUNTED = 1 << 20


def raw_tokens(a: Arranged, problems: Problems) -> tuple[list[str], Array]:
    """Distinct tokens, and for each value its number among them (-1: missing)."""
    column = a.column
    values, kind = column.values, column.values.type
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        problems.add("D128", f"`{a.layout.name}` wants tokens, and these are {kind}", column.origin.file, None, column.label)
    if leaf.is_text(values) and a.layout.partial:
        values, _ = leaf.clean_text(values)
    distinct, indices = indices_of(values)
    return [str(value) for value in distinct], indices


def indices_of(values: pa.ChunkedArray) -> tuple[list[Any], Array]:
    """The distinct values, and for each value its number among them (-1: missing)."""
    if len(values) == 0 or pa.types.is_null(values.type):
        return [], np.full(len(values), -1, np.int32)
    coded = values.dictionary_encode()
    if coded.num_chunks == 1 and coded.null_count == 0:
        return coded.chunk(0).dictionary.to_pylist(), coded.chunk(0).indices.to_numpy()
    words = pa.concat_arrays([chunk.dictionary for chunk in coded.chunks]).dictionary_encode()
    numbers, indices, first, at = words.indices.to_numpy(), np.empty(len(values), np.int32), 0, 0
    for chunk in coded.chunks:  # into one array, with no other beside it
        own = np.append(numbers[first : first + len(chunk.dictionary)], np.int32(-1))
        found = pc.fill_null(chunk.indices, -1) if chunk.null_count else chunk.indices
        indices[at : at + len(chunk)] = own[found.to_numpy()]
        first, at = first + len(chunk.dictionary), at + len(chunk)
    return words.dictionary.to_pylist(), indices


def counted(indices: Array, size: int) -> Array:
    """How often each number occurs, -1 aside; some at a time, as bincount makes int64 of what it is given."""
    found = np.zeros(size + 1, np.int64)
    for at in range(0, len(indices), COUNTED):
        found += np.bincount(indices[at : at + COUNTED] + 1, minlength=size + 1)
    return found[1:]


def vocabularies(
    model: Model,
    tokens: Mapping[str, tuple[list[str], Array]],
    known: Collection[str] = (),
    more: Sequence[Mapping[Dim, Counter[str]]] = (),
) -> dict[str, Vocabulary]:
    """Each vocabulary but those that are known, from all the variables that it serves, or from the file that the spec names.
    more: words besides, by vocabulary."""
    built: dict[str, Vocabulary] = {}
    for vocab in model.vocabs:
        if vocab.name in known or dict(vocab.options).get("subword"):  # of pieces: see subwords.py
            continue
        if file := dict(vocab.options).get("from"):
            built[vocab.name] = words.listed(vocab, lines_of(Path(model.source.name).parent / str(file)))
            continue
        counts: Counter[str] = Counter()
        lower = words.settings(vocab)["lower"]
        for each in more:
            for word, count in each.get(vocab.name, {}).items():
                counts[word.lower() if lower else word] += count
        for name, (distinct, indices) in tokens.items():
            if model.variable[name].type.card == vocab.name:
                seen = counted(indices, len(distinct))
                for word, count in zip(distinct, seen.tolist(), strict=True):
                    counts[word.lower() if lower else word] += count
        if counts:
            built[vocab.name] = words.build(vocab, counts)
    return built


def lines_of(path: Path) -> list[str]:
    """The lines of a file of words that are not blank; DataError where it cannot be read."""
    file = opened(str(path))
    try:
        text = whole(file).getvalue().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise not_utf8(file) from None
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        help = "a vocabulary is read `from` a file beside the spec, or one of an absolute path"
        raise DataError(
            [DataDiagnostic("D101", f"cannot read the words of a vocabulary: {reason}", str(path), help=help)]
        ) from None
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def token_ids(a: Arranged, variable: Variable, raw: tuple[list[str], Array], context: Context) -> tuple[Array, Array]:
    distinct, indices = raw
    vocabulary = context.encoders.vocabularies.get(str(variable.type.card))
    if vocabulary is None:
        rows = a.column.origin.rows
        counted = f"{rows} row{'' if rows == 1 else 's'}; a blank line is one without tokens"
        problem = f"no row has a token, so there is no vocabulary {variable.type.card} ({counted})"
        advice = f"name the file or the column that holds the tokens: {a.layout.name}=FILE, or --columns {a.layout.name}=NAME"
        context.problems.add("D127", problem, a.column.origin.file, None, a.column.label, advice)
        return np.zeros(0, np.int32), np.zeros(0, bool)
    ids = np.array([*vocabulary.encode(distinct), 0], np.int32)[indices]
    missing = indices < 0
    if not vocabulary.unknown:
        _check_known(a, vocabulary, ids, missing, raw, context)
    if a.layout.sequence and (vocabulary.begin is not None or vocabulary.end is not None):
        return _with_symbols(a, vocabulary, ids, missing)
    return ids, missing


def _check_known(
    a: Arranged, vocabulary: Vocabulary, ids: Array, missing: Array, raw: tuple[list[str], Array], context: Context
) -> None:
    """D139 for words that a vocabulary without unknown ones has not."""
    distinct, indices = raw
    bad = (ids < 0) & ~missing
    told = f"is not in vocabulary {vocabulary.name} of {len(vocabulary)} entries, which has no unknown words"
    advice = "leave out `unknown=false`, and such words become <unk>"
    _, first = np.unique(indices[bad], return_index=True)
    places = np.flatnonzero(bad)[first]
    once = np.isin(np.arange(len(bad)), places)
    leaf.report_all(a.column, context.problems, "D139", once, lambda i: f"{distinct[indices[i]]!r} {told}", advice)


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
