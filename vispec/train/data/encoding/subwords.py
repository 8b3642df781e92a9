"""Words in pieces, by byte-pair encoding: `vocab V(subword(pieces=8000))`. The pieces are learnt from the training text by the
tokenizers package, and a run keeps them as the JSON text of that. A piece that begins a word has MARK in front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vispec.model.model import Model, Variable, Vocab
from vispec.train.data.arrange import Arranged
from vispec.train.data.columns import Array, Column, lengths
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.tokens import raw_tokens
from vispec.train.data.encoding.vocab import UNKNOWN, Encoders, Vocabulary, settings, specials
from vispec.train.errors import OptionError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MARK = "▁"


def in_pieces(
    model: Model, arranged: Mapping[str, Arranged], encoders: Encoders | None, training: bool, problems: Problems
) -> tuple[dict[str, Arranged], Encoders | None]:
    """The columns with pieces in the place of words, and the encoders with the vocabularies of these that they lack."""
    found = dict(arranged)
    for vocab in model.vocabs:
        pieces = dict(vocab.options).get("subword")
        names = [name for name in arranged if is_of(model.variable[name], vocab)]
        if not pieces or not names:
            continue
        words = {name: raw_tokens(arranged[name], problems) for name in names}
        lower = settings(vocab)["lower"]
        words = {name: ([w.lower() if lower else w for w in distinct], at) for name, (distinct, at) in words.items()}
        if training and (encoders is None or vocab.name not in encoders.vocabularies):
            learnt = learn(vocab, int(pieces), words.values())
            known = encoders or Encoders()
            encoders = replace(known, vocabularies={**known.vocabularies, vocab.name: learnt})
        vocabulary = None if encoders is None else encoders.vocabularies.get(vocab.name)
        if vocabulary is None:
            continue
        for name in names:
            column = split_up(arranged[name], *words[name], vocabulary, problems)
            found[name] = replace(arranged[name], column=column)
    return found, encoders


def is_of(variable: Variable, vocab: Vocab) -> bool:
    return variable.type.domain == "token" and variable.type.card == vocab.name


def learn(vocab: Vocab, pieces: int, words: Iterable[tuple[Sequence[str], Array]]) -> Vocabulary:
    """The vocabulary of so many pieces, its symbols counted in."""
    tokenizers = package()
    chosen = settings(vocab)
    special = specials(chosen)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    size = max(pieces - len(special) + 1, 2)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, special_tokens=[UNKNOWN], show_progress=False)
    texts = (distinct[i] for distinct, at in words for i in at if i >= 0)
    tokenizer.train_from_iterator(texts, trainer)
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    own = [piece for piece, _ in by_id if piece not in (UNKNOWN, *special)]
    return Vocabulary(vocab.name, tuple([*special, *own]), **chosen, pieces=tokenizer.to_str())


def package() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise OptionError("`subword` needs the package tokenizers: pip install 'vispec[subwords]'") from error
    return tokenizers


@cache
def of_text(text: str) -> Tokenizer:
    return package().Tokenizer.from_str(text)


def split_up(a: Arranged, words: Sequence[str], at: Array, vocabulary: Vocabulary, problems: Problems) -> Column:
    """The column with a sequence's words in pieces, in their order; what is missing stays one missing piece."""
    column = a.column
    if not a.layout.sequence:
        message = f"`{a.layout.name}` is one token, and `{vocabulary.name}` is of pieces of words, of which a word has several"
        problems.add("D142", message, column.origin.file, None, column.label, "declare it in a plate of its own")
        return column
    cut = [each.tokens for each in of_text(vocabulary.pieces or "").encode_batch(list(words))]
    none: list[list[str | None]] = [[None]]
    flat = pa.array([piece for pieces in (*cut, *none) for piece in pieces], pa.large_string())
    counts = np.array([*map(len, cut), 1], np.int64)
    starts = np.cumsum(counts) - counts
    each = counts[at]  # at -1 stands the missing one
    ends = np.cumsum(each)
    inside = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - each, each)
    values = flat.take(pa.array(np.repeat(starts[at], each) + inside))
    depth = len(a.layout.head) - 1
    old = lengths(column.levels[depth], column.parents(depth))
    bounds = np.concatenate(([0], np.cumsum(np.maximum(old, 0))))
    upto = np.concatenate(([0], ends))
    level = np.where(old < 0, -1, upto[bounds[1:]] - upto[bounds[:-1]])
    return replace(column, levels=(*column.levels[:depth], level), values=pa.chunked_array([values]))


def joined(vocabulary: Vocabulary, items: Sequence[Any]) -> list[Any]:
    """Pieces put together to words; symbols around a sequence stay as they are."""
    words: list[Any] = []
    opened = False
    for item in items:
        if not isinstance(item, str) or item in (vocabulary.begin, vocabulary.end):
            words.append(item)
            opened = False
        elif item.startswith(MARK) or not opened:
            words.append(item.removeprefix(MARK))
            opened = True
        else:
            words[-1] += item
    return words
