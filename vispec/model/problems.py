"""Gathering what is wrong: diagnostics with their spans, near misses of names, and spans inside of a node."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Literal

from vispec.diagnostics import Diagnostic, Label
from vispec.model.codes import CODES
from vispec.source import Span

Cause = tuple[Span, str]
MOST_NAMES = 500  # comparing with more takes longer than it is worth


class Problems:
    """All diagnostics of one run. The same fact at the same place is kept once."""

    def __init__(self) -> None:
        self.found: dict[Diagnostic, None] = {}  # a set in the order of reporting

    def add(
        self,
        code: str,
        span: Span,
        message: str,
        label: str = "",
        *,
        cause: Cause | None = None,
        help: str | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """Report one fact: the words at `span` are wrong, because of the words at `cause`, and `help` is the edit."""
        assert code in CODES, code
        related = (Label(*cause),) if cause is not None else ()
        self.found[Diagnostic(code, message, Label(span, label), related, help, severity)] = None

    def merge(self, other: "Problems") -> None:
        """Take over what another run found."""
        self.found |= other.found

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(d for d in self.found if d.severity == "error")


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    names = sorted(known)
    if len(names) > MOST_NAMES:
        return None
    folded = {candidate.lower(): candidate for candidate in names}
    if name.lower() in folded:
        return folded[name.lower()]
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    return max(close, key=lambda other: (_likeness(name, other), -len(other)), default=None)


def _likeness(name: str, other: str) -> float:
    """Share of equal letters, a little more where the names begin alike."""
    return SequenceMatcher(None, name, other).ratio() + 0.05 * (name[:1] == other[:1])


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """A help line for a name that is not known."""
    meant = near(name, known)
    return f"did you mean `{meant}`?" if meant else otherwise


def listed(names: Iterable[str], last: str = "and") -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)


def head(span: Span, word: str) -> Span:
    """The first word of a node whose text begins with it."""
    return Span(span.start, span.start + len(word), span.line, span.column, span.line, span.column + len(word))
