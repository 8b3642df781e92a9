"""Text → Tree. The grammar is grammar/vispec.lark.

A statement that does not parse is reported, replaced by a harmless one, and the file is parsed again, so that one run finds the
problems of all lines.
"""

from functools import lru_cache
from typing import Any

import lark
from lark.exceptions import UnexpectedInput

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.source import Source
from vispec.syntax.build import build, span_of
from vispec.syntax.grammar import parser
from vispec.syntax.layout import Layout
from vispec.syntax.lines import MAX_DEPTH, MAX_PROBLEMS, TOO_DEEP, TOO_DEEP_HELP, Line
from vispec.syntax.tree import Tree
from vispec.syntax.words import BLOCKS, PLATES, SECTIONS


@lru_cache(32)  # a fit and what verifies it read the same text, each for itself
def parse(source: Source) -> Tree:
    """The tree of a spec. Raises SpecError with everything that is wrong with its layout and its grammar."""
    layout = Layout(source)
    if not layout.lines:
        raise SpecError(source, [_nothing(layout)])
    if layout.problems:
        raise SpecError(source, layout.problems + _read_on(layout))
    try:
        tree = parser().parse(source.text + "\n")
    except UnexpectedInput:
        raise SpecError(source, _read_on(layout)) from None
    if problems := _unbuildable(tree):
        raise SpecError(source, problems)
    return Tree(source, build(tree), tuple(layout.comments))


def _nothing(layout: Layout) -> Diagnostic:
    help = "begin with the data: a line `plate n:`, and below it, indented, `observed x : real ~ Normal(0, 1)`"
    return Diagnostic("V001", "this file declares nothing", Label(layout.span(1, 0, 0)), help=help)


# ---- after a problem


def _read_on(layout: Layout) -> list[Diagnostic]:
    """The problems that the grammar finds beside those of the layout."""
    from vispec.syntax.explain import explain  # not needed for a file that parses

    draft = _Draft(layout)
    problems: list[Diagnostic] = []
    while len(problems) + len(layout.problems) < MAX_PROBLEMS:
        try:
            parser().parse(draft.text())
        except UnexpectedInput as error:
            line = draft.line_of(error)
            if line.broken:
                break
            problems.append(explain(layout, line, error))
            draft.drop(line)
            draft.skip_to(line)
        else:
            break
    return problems


class _Draft:
    """A copy of the text, line by line, in which broken statements give way to harmless ones and indentation is repaired."""

    def __init__(self, layout: Layout):
        self.lines = layout.lines
        self.rows = [""] * (len(layout.rows) + 1)
        for line in layout.lines:
            self.rows[line.first - 1] = " " * line.width + layout.rows[line.first - 1].lstrip(" \t")
            self.rows[line.first : line.last] = layout.rows[line.first : line.last]
        for line in layout.lines:
            if line.broken:
                self.drop(line)

    def text(self) -> str:
        return "\n".join(self.rows)

    def line_of(self, error: UnexpectedInput) -> Line:
        """The statement that the parser stopped in; the last one where it stopped at the end."""
        before = [line for line in self.lines if line.first <= error.line] if error.line > 0 else []
        return (before or self.lines)[-1]

    def drop(self, line: Line) -> None:
        line.broken = True
        self.rows[line.first - 1 : line.last] = [""] * (line.last - line.first + 1)
        self.rows[line.first - 1] = " " * line.width + self._substitute(line)

    def skip_to(self, line: Line) -> None:
        """Clear the top-level statements before the one that the line belongs to: they are known to parse."""
        while line.parent is not None:
            line = line.parent
        self.rows[: line.first - 1] = [""] * (line.first - 1)

    def _substitute(self, line: Line) -> str:
        """What can stand for the line, so that what is around it and under it still parses."""
        section = line.parent.word if line.parent is not None else ""
        if line.opens:
            if line.word in PLATES and section not in SECTIONS:
                return "plate _:"
            if line.word in BLOCKS and line.parent is None:
                return f"{line.word}:"
            self._clear_under(line)
        return {"guide": "_ ~ _", "infer": "_ : _", "fit": "_ : _"}.get(section, "let _ = 0")

    def _clear_under(self, header: Line) -> None:
        under = {id(header)}
        for line in self.lines:
            if id(line.parent) in under:
                under.add(id(line))
                line.broken = True
                self.rows[line.first - 1 : line.last] = [""] * (line.last - line.first + 1)


# ---- what parses and still cannot be built


def _unbuildable(tree: lark.Tree[Any]) -> list[Diagnostic]:
    """Nesting that later stages could not follow, and numbers that no machine number holds. Walks without recursion."""
    found: list[Diagnostic] = []
    stack: list[tuple[lark.Tree[Any], int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            return [Diagnostic("V017", TOO_DEEP, Label(span_of(node.meta)), help=TOO_DEEP_HELP)]
        for child in node.children:
            if isinstance(child, lark.Tree):
                stack.append((child, depth + 1))
            elif child is not None and child.type == "NUMBER":
                found += _bad_number(child, whole=node.data == "end")
    return found


def _bad_number(token: lark.Token, whole: bool) -> list[Diagnostic]:
    if whole and not token.isdigit():
        message = "the ends of a range are whole numbers"
        return [Diagnostic("V021", message, Label(span_of(token)), help="write it as in `real[-50..50]`")]
    if len(token) > 300 or float(token) == float("inf"):
        return [Diagnostic("V020", "this number is too large", Label(span_of(token)), help="the largest is about 1.8e308")]
    return []
