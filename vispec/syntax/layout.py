"""How the lines of a spec nest, before its grammar: each gets its header, and indentation that fits no block is reported."""

from typing import NamedTuple

from vispec.diagnostics import Label
from vispec.source import Source
from vispec.syntax.grammar import TAB
from vispec.syntax.lines import Line, Lines, indent_of
from vispec.syntax.words import BLOCKS, GOES_ON

_EXAMPLES = {"fit": "epochs : 10", "infer": "z : exact", "guide": "z ~ Normal(0, 1)"}


class _Block(NamedTuple):
    """A block that is open: its indentation in columns as written and as the parser is to see it, and its header."""

    written: int
    repaired: int
    header: Line | None


class Layout(Lines):
    """The lines with their headers, and with indentation repaired where it fits no block."""

    def __init__(self, source: Source):
        super().__init__(source)
        self.mixed = self._mixes_tabs()
        self._nest()
        self._check_bodies()

    def _nest(self) -> None:
        open_blocks = [_Block(0, 0, None)]
        previous: Line | None = None
        for line in self.lines:
            written = _width(line.code)
            if written > open_blocks[-1].written:
                self._deeper(line, written, open_blocks, previous)
            elif written < open_blocks[-1].written:
                self._shallower(line, written, open_blocks)
            line.width, line.parent = open_blocks[-1].repaired, open_blocks[-1].header
            line.shift = indent_of(line.code) - line.width
            previous = line

    def _deeper(self, line: Line, written: int, open_blocks: list[_Block], previous: Line | None) -> None:
        if previous is not None and (previous.code.endswith(":") or previous.word in BLOCKS):
            previous.opens = True
            open_blocks.append(_Block(written, previous.width + 4, previous))
            return
        open_blocks.append(open_blocks[-1]._replace(written=written))  # its neighbours below are not reported again
        if previous is not None and self.rows[previous.last - 1].split("#")[0].rstrip().endswith(GOES_ON):
            line.broken = True  # the line above is told how it goes on
        elif previous is None:
            self._misfit("V008", line, "the first statement stands at the left margin", None)
        else:
            self._misfit("V008", line, "indent it like the line above", Label(self.code_span(previous), "opens no block"))

    def _shallower(self, line: Line, written: int, open_blocks: list[_Block]) -> None:
        left = open_blocks[-1]
        while written < open_blocks[-1].written:
            left = open_blocks.pop()
        if written > open_blocks[-1].written:
            open_blocks.append(left)
            cause = (
                Label(self.code_span(left.header), "the block of this header is indented otherwise") if left.header else None
            )
            self._misfit("V007", line, "indent it like one of the lines above that it belongs with", cause)

    def _misfit(self, code: str, line: Line, help: str, cause: Label | None) -> None:
        """Report indentation, unless tabs and spaces are mixed: it means little then."""
        if not self.mixed:
            facts = {
                "V007": "this indentation fits no block",
                "V008": "this line is indented, but nothing above opens a block",
            }
            self.report(code, facts[code], self.code_span(line), cause=cause, help=help)

    def _mixes_tabs(self) -> bool:
        """Report the first line that is indented with another character than those above it."""
        indents = [(line, line.code[: indent_of(line.code)]) for line in self.lines]
        first, mark = next(((line, indent[0]) for line, indent in indents if indent), (None, ""))
        line, indent = next(((line, indent) for line, indent in indents if indent.strip(mark)), (None, ""))
        if first is None or line is None:
            return False
        what = {" ": "spaces", "\t": "tabs"}[mark]
        cause = Label(self.code_span(first), f"indented with {what}") if first is not line else None
        help = f"indent the whole file with {what}; `vispec fmt` writes spaces"
        span = self.span(line.first, 0, len(indent))
        self.report("V006", "tabs and spaces are mixed in indentation", span, cause=cause, help=help)
        return True

    def _check_bodies(self) -> None:
        """Report the headers under which nothing is indented."""
        for line in self.lines:
            unopened = line.code.endswith(":") and not line.opens and line.first == line.last
            if unopened and not line.broken and line.word in BLOCKS:
                line.broken = True
                example = f", such as `{_EXAMPLES[line.word]}`," if line.word in _EXAMPLES else ""
                help = f"indent what belongs to it{example} below this line"
                if line.word == "plate" and "[" in line.code:
                    help += "; elements alone, to point at, need no `:`"
                self.report("V009", f"nothing stands in this {line.word}", self.code_span(line), help=help)


def _width(code: str) -> int:
    """How far to the right a line begins, as the parser counts it."""
    return sum(TAB if c == "\t" else 1 for c in code[: indent_of(code)])
