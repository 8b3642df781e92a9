"""Words and labels as numbers. Id 0 of a vocabulary is `<unk>`, unless it has no unknown words; begin and end symbols follow,
then words by falling count, or in the order of a file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vispec.model.model import Vocab

UNKNOWN = "<unk>"
BEGIN = "<s>"
END = "</s>"


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id. `begin` and `end`: the symbols put around each sequence, None where the spec asks for none. unknown:
    whether there is an entry, the first, for all words that have none. pieces: where entries are pieces of words, how words are
    taken apart, as the tokenizers package writes it."""

    name: str
    tokens: tuple[str, ...]
    begin: str | None = None
    end: str | None = None
    lower: bool = False
    chars: bool = False
    unknown: bool = True
    pieces: str | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def ids(self) -> Mapping[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids; for a token that is not in the vocabulary 0, or -1 where it has no unknown words."""
        if self.lower:
            tokens = (token.lower() for token in tokens)
        other = 0 if self.unknown else -1
        return [self.ids.get(token, other) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        return [self.tokens[i] for i in ids]

    def to_text(self) -> str:
        """One token a line, ids in order; a backslash, newline or carriage return inside a token is escaped."""
        return "".join(_escape(token) + "\n" for token in self.tokens)


def _escape(token: str) -> str:
    return token.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _unescape(line: str) -> str:
    parts = line.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\r", "\r") for part in parts)


def _symbol(value: object, default: str) -> str | None:
    return value if isinstance(value, str) else default if value else None


def settings(vocab: Vocab) -> dict[str, Any]:
    """The options that decide how text becomes tokens: begin, end, lower, chars, unknown."""
    options = dict(vocab.options)
    return {
        "begin": _symbol(options.get("begin"), BEGIN),
        "end": _symbol(options.get("end"), END),
        "lower": bool(options.get("lower", False)),
        "chars": bool(options.get("chars", False)),
        "unknown": bool(options.get("unknown", True)),
    }


def specials(chosen: Mapping[str, Any]) -> list[str]:
    """The entries that are no words of the data."""
    return list(
        dict.fromkeys([*[UNKNOWN] * chosen["unknown"], *(s for s in (chosen["begin"], chosen["end"]) if s is not None)])
    )


def build(vocab: Vocab, counts: Mapping[str, int]) -> Vocabulary:
    """The vocabulary of counted tokens (lower-cased already): those seen min_count times, at most max_size entries in all."""
    options = dict(vocab.options)
    chosen = settings(vocab)
    special = specials(chosen)
    least = int(options.get("min_count") or 1)
    words = [word for word, count in counts.items() if count >= least and word not in special]
    words.sort(key=lambda word: (-counts[word], word))
    size = options.get("max_size")
    tokens = [*special, *words]
    return Vocabulary(vocab.name, tuple(tokens[: max(int(size), len(special))] if size else tokens), **chosen)


def listed(vocab: Vocab, lines: Iterable[str]) -> Vocabulary:
    """The vocabulary of the lines of a file, an entry each, in their order, behind its symbols. Each counts once."""
    chosen = settings(vocab)
    words = (word.lower() if chosen["lower"] else word for word in map(_unescape, lines))
    return Vocabulary(vocab.name, tuple(dict.fromkeys([*specials(chosen), *words])), **chosen)


@dataclass(frozen=True)
class Unmet:
    """Elements of a parameter, read at the values of variables, that no row of the training data met: their numbers among all
    along these indices."""

    param: str
    by: tuple[str, ...]
    sizes: tuple[int, ...]
    elements: tuple[int, ...]


@dataclass(frozen=True)
class Encoders:
    """What training data taught: vocabularies by name, the labels of category and index variables, and what was not met.

    labels: by the name under which they are shared (see labels.py); None: plain integers."""

    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    unmet: tuple[Unmet, ...] = ()

    def under(self, others: "Encoders") -> "Encoders":
        """These, and those of `others` in place of any of the same name."""
        return Encoders({**self.vocabularies, **others.vocabularies}, {**self.labels, **others.labels}, self.unmet)

    def to_json(self) -> dict[str, Any]:
        """All but the tokens, which `save` writes as text."""
        kept = ("begin", "end", "lower", "chars", "unknown")
        options = {v.name: {key: getattr(v, key) for key in kept} for v in self.vocabularies.values()}
        for v in self.vocabularies.values():
            options[v.name] |= {"pieces": True} if v.pieces else {}
        labels = {k: None if v is None else list(v) for k, v in self.labels.items()}
        unmet = [vars(each) for each in self.unmet]
        return {"vocabularies": options, "labels": labels} | ({"unmet": unmet} if unmet else {})

    @property
    def files(self) -> list[str]:
        """The names of those that `save` writes."""
        every = self.vocabularies.values()
        return ["encoders.json", *(f"{v.name}.txt" for v in every), *(f"{v.name}.json" for v in every if v.pieces)]

    def save(self, folder: str | Path) -> None:
        """Write NAME.txt for each vocabulary, one token a line, and encoders.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for vocabulary in self.vocabularies.values():
            (folder / f"{vocabulary.name}.txt").write_text(vocabulary.to_text(), encoding="utf-8", newline="\n")
            if vocabulary.pieces:
                (folder / f"{vocabulary.name}.json").write_text(vocabulary.pieces, encoding="utf-8", newline="\n")
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n"
        (folder / "encoders.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Encoders":
        """What `save` wrote; raises OSError or ValueError where it is not there or not whole."""
        folder = Path(folder)
        value = json.loads((folder / "encoders.json").read_text(encoding="utf-8"))
        vocabularies = {}
        for name, options in value["vocabularies"].items():
            lines = (folder / f"{name}.txt").read_bytes().decode().split("\n")[:-1]
            pieces = (folder / f"{name}.json").read_text(encoding="utf-8") if options.pop("pieces", False) else None
            vocabularies[name] = Vocabulary(name, tuple(map(_unescape, lines)), **options, pieces=pieces)
        labels = {k: None if v is None else tuple(v) for k, v in value["labels"].items()}
        unmet = tuple(
            Unmet(u["param"], tuple(u["by"]), tuple(u["sizes"]), tuple(u["elements"])) for u in value.get("unmet", ())
        )
        return cls(vocabularies, labels, unmet)
