"""How near answers are to gold: shares of what is the same, F1 of spans (seqeval), BLEU and chrF (sacrebleu).

Each takes what is predicted of a variable and what the data have, row by row, and gives a number; shares are between 0 and 1,
BLEU and chrF between 0 and 100."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from vispec.train.errors import RunError

Rows = Sequence[Any]
MISSING = None  # stands where the data have no value


def library(name: str) -> Any:
    """A module of the extra `metrics`."""
    try:
        return import_module(name)
    except ImportError as error:
        raise RunError(f"this metric takes {name.partition('.')[0]}: pip install 'vispec[metrics]'") from error


def pairs(found: Any, gold: Any, row: int) -> Iterator[tuple[Any, Any]]:
    """Both at each element that the data have; RunError where there are not equally many."""
    if not isinstance(gold, list):
        if gold is not MISSING:
            yield found, gold
        return
    if not isinstance(found, list) or len(found) != len(gold):
        there = len(found) if isinstance(found, list) else 1
        raise RunError(f"row {row} has {there} predicted elements and {len(gold)} in the data: bleu and chrf compare such rows")
    for a, b in zip(found, gold, strict=True):
        yield from pairs(a, b, row)


def share(same: Sequence[bool], what: str) -> float:
    if not same:
        raise RunError(f"the data have no {what} to compare with")
    return sum(same) / len(same)


def accuracy(found: Rows, gold: Rows) -> float:
    """The share of elements that are predicted as they are."""
    both = (pair for row, (a, b) in enumerate(zip(found, gold, strict=True), 1) for pair in pairs(a, b, row))
    return share([a == b for a, b in both], "values")


def las(heads: tuple[Rows, Rows], labels: tuple[Rows, Rows]) -> float:
    """The share of words with the right head and label."""
    same = list[bool]()
    for row, parts in enumerate(zip(*heads, *labels, strict=True), 1):
        head, label = list(pairs(parts[0], parts[1], row)), list(pairs(parts[2], parts[3], row))
        if len(head) != len(label):
            raise RunError(f"row {row} has {len(head)} heads and {len(label)} labels in the data")
        same += [a[0] == a[1] and b[0] == b[1] for a, b in zip(head, label, strict=True)]
    return share(same, "words")


def brackets(found: Rows, gold: Rows, labelled: bool) -> float:
    """Of phrases, nodes (first element, last element, label) over two elements or more: the harmonic mean of precision and
    recall over all rows. labelled: whether labels have to be the same too."""
    told, right, same = 0, 0, 0
    for row, (a, b) in enumerate(zip(found, gold, strict=True), 1):
        if b is not MISSING:
            one, other = ({tuple(node[: 2 + labelled]) for node in nodes or () if node[0] < node[1]} for nodes in (a, b))
            if other and {max(last for _, last, *_ in one | other)} != {
                max(last for _, last, *_ in part) for part in (one, other)
            }:
                raise RunError(f"the parse of row {row} is of another number of words than that of the data")
            told, right, same = told + len(one), right + len(other), same + len(one & other)
    if not right:
        raise RunError("the data have no phrases to compare with")
    return 2 * same / (told + right)


def f1(found: Rows, gold: Rows, span: str) -> float:
    """Of spans of tags, B-X I-X, or with E- and S- too: the harmonic mean of precision and recall over all rows."""
    seqeval = library("seqeval.metrics")
    both = [list(pairs(a, b, row)) for row, (a, b) in enumerate(zip(found, gold, strict=True), 1)]
    told = [[str(a) for a, _ in row] for row in both]
    right = [[str(b) for _, b in row] for row in both]
    odd = next((tag for row in right for tag in row if tag != "O" and tag[:2] not in ("B-", "I-", "E-", "S-")), None)
    if odd is not None:
        raise RunError(f"f1 compares spans, of tags such as O, B-PER and I-PER; the data have {odd!r}")
    if span == "bio":  # a stray I- begins a span, as in the evaluation of CoNLL
        return float(seqeval.f1_score(right, told, zero_division=0))
    scheme = library("seqeval.scheme").IOBES
    return float(seqeval.f1_score(right, told, mode="strict", scheme=scheme, zero_division=0))


def text(row: Any, apart: str) -> str:
    """A sequence as a line."""
    return apart.join(map(str, row or []))


def bleu(found: Rows, gold: Rows, apart: str, tokenize: str) -> float:
    """Of the whole corpus."""
    lines, right = [text(row, apart) for row in found], [text(row, apart) for row in gold]
    return float(library("sacrebleu").corpus_bleu(lines, [right], tokenize=tokenize, force=True).score)


def chrf(found: Rows, gold: Rows, apart: str) -> float:
    """Of the whole corpus, of characters alone."""
    lines, right = [text(row, apart) for row in found], [text(row, apart) for row in gold]
    return float(library("sacrebleu").corpus_chrf(lines, [right]).score)


def sentence_utility(name: str) -> Callable[[str, str], float]:
    """How near one sentence is to another, by "bleu" (smoothed) or "chrf"; RunError without the extra."""
    of = library("sacrebleu").sentence_bleu if name == "bleu" else library("sacrebleu").sentence_chrf
    more = {"tokenize": "none", "use_effective_order": True} if name == "bleu" else {}
    return lambda one, other: float(of(one, [other], **more).score)


Told = Mapping[str, Mapping[str, float]]
"""By variable and metric."""
