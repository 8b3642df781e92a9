"""The lines of a spec, before its grammar: which physical lines make one statement, and where comments stand.

What is wrong with brackets, strings and characters is found here, where the cause is still in sight.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from vispec.diagnostics import Diagnostic, Label
from vispec.source import Source, Span
from vispec.syntax.words import SECTIONS, STATEMENTS

MAX_DEPTH = 80  # of brackets and of trees: later stages recurse, and Python, which reads what they emit, nests 200 deep
TOO_DEEP, TOO_DEEP_HELP = f"this is nested more than {MAX_DEPTH} levels deep", "name a part of it with `let`"
MAX_PROBLEMS = 20  # in one run; more would only hide the first
_PIECE = re.compile(r'"[^"\n]*"?|#.*|[()\[\]]|[^"#()\[\]]+')
_STRAY = re.compile(r"[^\w \t,:=~|<>*/^+.!()\[\]\"#-]|[^\x00-\x7f]|!(?!=)")
_BEGINS = re.compile(rf"[ \t]*(?:(?:{'|'.join(STATEMENTS)})[ \t]+[A-Za-z_]|(?:{'|'.join(SECTIONS)})[ \t]*:[ \t]*(?:#|$))")
_CONTINUES = re.compile(r"[ \t]+(?:\|>|=|->|~|then\b)")
_PAIRS = {")": "(", "]": "["}
_INSTEAD = {
    "'": 'strings stand in double quotes: "..."',
    ";": "put each statement on a line of its own",
    "{": "lists stand in square brackets, blocks are indented",
    "}": "lists stand in square brackets, blocks are indented",
    "&": "write `and`",
    "?": "a choice is written `a if condition else b`",
    "!": "write `not`; unequal is `!=`",
    "%": "the language has no remainder",
    "@": "a product of vectors is `dot(w, x)`; `dot(A, x)` one of a matrix and a vector",
    "\\": "a line goes on inside brackets without any mark",
    "−": "write `-`",
    "–": "write `-`",
    "×": "write `*`",
    "→": "write `->`",
    "∼": "write `~`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "“": 'write `"`',
    "”": 'write `"`',
}


@dataclass
class Line:
    """A statement, an entry of a section, or a header: physical lines first..last.

    width: its indentation in columns as the parser is to see it, which differs from the written one where that fits no block.
    opens: the lines below are indented under it. broken: its problem is reported, the parser need not see it.
    """

    first: int
    last: int
    code: str  # the first physical line, without its comment
    width: int = 0
    shift: int = 0
    opens: bool = False
    broken: bool = False
    parent: "Line | None" = None

    @cached_property
    def word(self) -> str:
        """The word of the language that the line begins with, or was meant to begin with; else ''."""
        found = re.match(r"\s*(\w+)", self.code)
        if found is None or found[1] in STATEMENTS:
            return found[1] if found else ""
        from difflib import get_close_matches  # slow to import, and seldom needed

        return next(iter(get_close_matches(found[1].lower(), STATEMENTS, n=1, cutoff=0.7)), "")


class Lines:
    """The statements and headers of a source, its comments as (line number, text), and its problems."""

    def __init__(self, source: Source):
        self.source = source
        self.rows = source.text.split("\n")
        self.starts = [0]
        for row in self.rows:
            self.starts.append(self.starts[-1] + len(row) + 1)
        self.lines: list[Line] = []
        self.comments: list[tuple[int, str]] = []
        self.problems: list[Diagnostic] = []
        self._open: list[tuple[str, Span]] = []  # brackets of the present line
        for number, row in enumerate(self.rows, 1):
            self._read(number, row)
        self._close()

    def span(self, line: int, start: int, stop: int) -> Span:
        """Columns start..stop of a line, both counted from 0."""
        return Span(self.starts[line - 1] + start, self.starts[line - 1] + stop, line, start + 1, line, stop + 1)

    def code_span(self, line: Line) -> Span:
        """The words of a line's first row."""
        return self.span(line.first, indent_of(line.code), len(line.code))

    def report(
        self, code: str, message: str, span: Span, label: str = "", help: str | None = None, cause: Label | None = None
    ) -> None:
        """Note a problem; those past the first MAX_PROBLEMS are dropped."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Diagnostic(code, message, Label(span, label), (cause,) if cause else (), help))

    # ---- physical lines to logical ones

    def _read(self, number: int, row: str) -> None:
        pieces = [(m.start(), m[0]) for m in _PIECE.finditer(row)]
        code = row
        if pieces and pieces[-1][1].startswith("#"):
            at, comment = pieces.pop()
            self.comments.append((number, comment.rstrip()))
            code = row[:at]
        code = code.rstrip(" \t")
        if not code:
            return
        if self._open and _BEGINS.match(code):
            self._close()
        if self.lines and (self._open or _CONTINUES.match(code)):
            self.lines[-1].last = number
        else:
            self.lines.append(Line(number, number, code))
        line = self.lines[-1]
        for at, piece in pieces:
            self._check(line, number, at, piece)

    def _check(self, line: Line, number: int, at: int, piece: str) -> None:
        """Brackets, strings and characters of one stretch of a line."""
        span = self.span(number, at, at + len(piece))
        if piece in ("(", "["):
            self._open.append((piece, span))
            if len(self._open) > MAX_DEPTH and not line.broken:
                line.broken = True
                self.report("V017", TOO_DEEP, span, help=TOO_DEEP_HELP)
        elif piece in _PAIRS:
            if self._open and self._open[-1][0] == _PAIRS[piece]:
                self._open.pop()
            elif not line.broken:
                self._unmatched(line, piece, span)
        elif piece.startswith('"'):
            if len(piece) < 2 or not piece.endswith('"'):
                line.broken = True
                self.report("V005", "this string is never closed", span, help='a string ends with `"` on the same line')
        elif (stray := _STRAY.search(piece)) and not line.broken:
            line.broken = True
            self._stray(stray[0], self.span(number, at + stray.start(), at + stray.end()))

    def _unmatched(self, line: Line, piece: str, span: Span) -> None:
        line.broken = True
        cause = Label(self._open[-1][1], "opened here") if self._open else None
        message = f"`{piece}` closes nothing" if cause is None else f"`{piece}` does not close `{self._open[-1][0]}`"
        self.report("V004", message, span, cause=cause, help="remove it, or open it before")
        self._open.clear()

    def _stray(self, character: str, span: Span) -> None:
        import unicodedata

        name = unicodedata.name(character, f"U+{ord(character):04X}").lower()
        shown = f"`{character}`" if character.isprintable() else f"U+{ord(character):04X}"
        other = "names are made of plain letters, digits and `_`" if character.isalnum() else "remove it"
        words = f"the character {shown}" + (f" ({name})" if not character.isascii() and character.isprintable() else "")
        self.report("V002", f"{words} means nothing here", span, help=_INSTEAD.get(character, other))

    def _close(self) -> None:
        """The end of a line where brackets may be open still."""
        if self._open and not self.lines[-1].broken:
            bracket, span = self._open[-1]
            self.lines[-1].broken = True
            other = ")" if bracket == "(" else "]"
            self.report("V003", f"`{bracket}` is never closed", span, help=f"add the missing `{other}`")
        self._open.clear()


def indent_of(code: str) -> int:
    """How many characters of white space lead a line."""
    return len(code) - len(code.lstrip(" \t"))
