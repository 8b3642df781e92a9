"""Parses as text in brackets, `(S (NP (D the) (N cat)) (VP sat))`: a bracket has a label and a word, or a label and what stands
below it. `_` is a label that is not known, and so is none: `((NP the cat) sat)`. A word that stands beside others has no label
of its own. Each word is an element of the parse's plate, and has four values there, which kernels/trees/brackets.py names."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from vispec.model.model import Variable
from vispec.model.types import Dim
from vispec.train.data.arrange import MISSING_TEXT, Arranged, Layout
from vispec.train.data.columns import Array, Column
from vispec.train.data.diagnostics import LIMIT, Problems
from vispec.train.data.encoding import values as leaf
from vispec.train.data.encoding.context import Context
from vispec.train.data.encoding.labels import is_whole

PIECES = re.compile(r"[()]|[^\s()]+")
NONE = "_"
WIDTH = 4
BINARY = (
    "put two of them into a bracket of their own; in a `partial` parse more may stand there, and all ways to do so are summed"
)
UNARY = "make one label of both, as in (VP+V sat)"
OWN = "give each word a bracket of its own, as in (N cat); in a `partial` parse words may stand bare"


class BrokenError(Exception):
    """Why a text is no parse, and what to do."""

    def __init__(self, fact: str, help: str | None = None):
        super().__init__(fact)
        self.help = help


@dataclass
class Bracket:
    """One that is open: its label, whether that has been read, and the first and last words of what stands in it."""

    start: int
    label: str | None = None
    fresh: bool = True
    below: list[tuple[int, int, bool]] = field(default_factory=list)


@dataclass
class Read:
    """own: of each word its label. phrases: by the word after which one is divided, its first and last word and its label."""

    words: list[str] = field(default_factory=list)
    own: list[str | None] = field(default_factory=list)
    phrases: dict[int, tuple[int, int, str | None]] = field(default_factory=dict)

    def cells(self) -> Iterator[str | None]:
        for at, own in enumerate(self.own):
            first, last, label = self.phrases.get(at, (None, None, None))
            yield from (own, None if first is None else str(first), None if last is None else str(last), label)


def read_brackets(text: str, whole: bool) -> Read:
    """The parse that a text is. whole: it has each node of a binary tree, with its label. Raises BrokenError."""
    read, open_ = Read(), list[Bracket]()
    over = False
    for piece in PIECES.findall(text):
        if over:
            raise BrokenError(f"`{piece}` stands behind the bracket that is over all")
        if piece == "(":
            if open_:
                open_[-1].fresh = False
            open_.append(Bracket(len(read.own)))
        elif piece == ")":
            if not open_:
                raise BrokenError("a bracket closes that none has opened")
            closed(open_.pop(), read, open_, whole)
            over = not open_
        elif not open_:
            raise BrokenError(f"`{piece}` stands in no bracket")
        elif open_[-1].fresh:
            open_[-1].label, open_[-1].fresh = None if piece == NONE else piece, False
        else:
            open_[-1].below.append((len(read.own), len(read.own), True))
            read.own.append(None)
            read.words.append(piece)
    if open_:
        raise BrokenError(f"{len(open_)} bracket{'s are' if len(open_) > 1 else ' is'} never closed")
    if not over:
        raise BrokenError("there is no bracket")
    if whole and None in read.own:
        raise BrokenError(f"the word `{read.words[read.own.index(None)]}` has no label", OWN)
    return read


def closed(bracket: Bracket, read: Read, around: list[Bracket], whole: bool) -> None:
    """What a bracket that ends is: a word's own, a phrase, or, without a label, what stands in it alone."""
    below, label = bracket.below, bracket.label
    if not below:
        raise BrokenError(f"no word stands in `({label or ''})`", "a bracket has a label and then a word: (N cat)")
    node = (bracket.start, below[-1][1], False)
    if len(below) == 1:
        if below[0][2]:
            read.own[bracket.start] = label
        elif label is not None:
            raise BrokenError(f"`{label}` stands over one bracket alone, and nodes have two below them", UNARY)
    else:
        if whole and len(below) > 2:
            raise BrokenError(f"`{label or NONE}` has {len(below)} below it, and the nodes of a whole parse have two", BINARY)
        if whole and label is None:
            raise BrokenError(
                f"the bracket over `{' '.join(read.words[bracket.start :])}` has no label", "an observed parse has all"
            )
        read.phrases[below[0][1]] = (bracket.start, below[-1][1], label)
    if around:
        around[-1].below.append(node)


def bracketed(column: Column, layout: Layout, problems: Problems) -> Column | None:
    """A column of text with a list of words in each cell's place, and four values of each; None where it is no such text."""
    texts = column.values
    if not leaf.is_text(texts) and texts.null_count < len(texts):
        fact = f"these are {texts.type}, and a parse is text with brackets"
        problems.add("D143", fact, column.origin.file, None, column.label, "as in (S (N cats) (V sleep))")
        return None
    level, cells, bad = list[int](), list[str | None](), 0
    for at, text in enumerate(texts.to_pylist()):
        if text is None or (layout.partial and text.strip() in MISSING_TEXT):
            level.append(-1)
            continue
        try:
            found = read_brackets(text, not layout.partial)
        except BrokenError as error:
            bad += 1
            if bad <= LIMIT:
                column.report(problems, "D143", str(error), len(column.levels), at, error.help)
            level.append(0)
            continue
        level.append(len(found.own))
        cells += found.cells()
    problems.more += max(0, bad - LIMIT)
    if bad:
        return None
    values = pa.chunked_array([pa.array(cells, pa.large_string())])
    return replace(column, levels=(*column.levels, np.array(level, np.int64), WIDTH), values=values)


def words_of(a: Arranged, variable: Variable) -> dict[Dim, Counter[str]]:
    """The labels that occur, by the size or vocabulary that they are of."""
    own, label = labels_in(a)
    found: dict[Dim, Counter[str]] = {}
    for names, dim in ((own, variable.type.card), (label, over_phrases(variable))):
        assert dim is not None
        found.setdefault(dim, Counter()).update(name for name in names if name is not None)
    return found


def over_phrases(variable: Variable) -> Dim | None:
    """What the labels of phrases are of."""
    return variable.type.card if variable.type.symbols is None else variable.type.symbols


def labels_in(a: Arranged) -> tuple[list[str | None], list[str | None]]:
    """The labels of all elements, and those of the phrases at them."""
    cells = a.column.values.to_pylist()
    return cells[::WIDTH], cells[3::WIDTH]


def parses(a: Arranged, variable: Variable, context: Context) -> tuple[Array, Array]:
    """The numbers of elements (elements * 4,), and which have no label of their own."""
    cells, (own, label) = a.column.values.to_pylist(), labels_in(a)
    places = [np.array([-1 if cell is None else int(cell) for cell in cells[at::WIDTH]], np.int64) for at in (1, 2)]
    symbols = variable.type.symbols
    named = str(variable.type.card) in context.encoders.vocabularies
    apart = 0 if symbols is None or named else context.sizes.value(symbols) or 0
    numbers = [
        as_numbers(own, a, variable.type.card, apart, context),
        *places,
        as_numbers(label, a, over_phrases(variable), 0, context),
    ]
    missing = np.array([name is None for name in own], bool)
    numbers[0] = np.maximum(numbers[0], 0)
    return np.stack(numbers, 1).astype(np.int32).reshape(-1), np.repeat(missing, WIDTH)


def as_numbers(names: list[str | None], a: Arranged, dim: Dim | None, apart: int, context: Context) -> Array:
    """The numbers of labels, -1 where there is none. apart: the number of the first."""
    number, told = numbering(dim, apart, context)
    known = {name: number(name) for name in {*names} - {None}}  # type: ignore[arg-type]
    bad = np.array([name is not None and known[name] < 0 for name in names], bool)
    if bad.any():
        once = np.zeros(len(names) * WIDTH, bool)
        first = {names[at]: at for at in reversed(np.flatnonzero(bad).tolist())}
        once[[at * WIDTH for at in first.values()]] = True
        leaf.report_all(a.column, context.problems, "D143", once, lambda i: f"`{names[i // WIDTH]}` is no label of {told}")
    return np.array([-1 if name is None else known[name] for name in names], np.int64)


def numbering(dim: Dim | None, apart: int, context: Context) -> tuple[Callable[[str], int], str]:
    """From a label to its number, -1 where it has none; and what labels there are."""
    vocabulary = context.encoders.vocabularies.get(str(dim))
    if vocabulary is not None:
        return lambda name: vocabulary.encode([name])[0], f"vocabulary {vocabulary.name}"
    size = context.sizes.value(dim) if dim is not None else None
    if size is None:
        fact = f"the labels are numbers, and nothing says how many there are: `{dim}` has no value"
        help = f"give it: --set {dim}=NUMBER; or, where labels are words, declare `vocab {dim}(unknown=false)` instead"
        context.problems.add("D127", fact, "data", help=help)
        return lambda name: 0, ""
    last = apart + size - 1
    return lambda name: int(name) - apart if is_whole(name) and apart <= int(name) <= last else -1, f"{apart}..{last}"
