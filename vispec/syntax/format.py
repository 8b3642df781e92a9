"""The canonical form of a spec: four spaces a level, columns aligned among neighbours, comments and single blank lines kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from vispec.syntax import tree as t
from vispec.syntax.unparse import INDENT, Entry, Unparser

WIDTH = 120  # a longer net, or a longer chain of laws, goes on below


def format_tree(tree: t.Tree) -> str:
    """The tree as canonical text; parsing it again gives the same tree, up to spans."""
    printer = _Printer(tree)
    printer.block(tree.body, "", end=len(printer.rows) + 1)
    printer.comments_above(len(printer.rows) + 1, "")
    return "\n".join(printer.out) + "\n"


@dataclass(frozen=True)
class _Comment:
    """column: of the first character of its line, from 0. alone: no words stand before it."""

    row: int
    text: str
    column: int
    alone: bool


class _Printer:
    """Goes through the statements in order and takes along the comments and blank lines around them."""

    def __init__(self, tree: t.Tree):
        self.rows = tree.source.text.split("\n")
        self.comments = [self._comment(row, text) for row, text in tree.comments]
        self.unparse = Unparser(tree.source)
        self.out: list[str] = []
        self.head = 0  # where the present block begins in `out`

    def _comment(self, number: int, text: str) -> _Comment:
        row = self.rows[number - 1]
        words = row.lstrip()
        return _Comment(number, text, len(row) - len(words), words.startswith("#"))

    # ---- what stands around statements

    def blank_above(self, row: int) -> None:
        """One blank line where the text has any, but not at the head of the file or of a block."""
        if row > 1 and not self.rows[row - 2].strip() and len(self.out) > self.head:
            self.out.append("")

    def comments_above(self, row: int, indent: str, column: int = 0) -> None:
        """The comments above `row` on lines of their own, as far as they are indented by at least `column`."""
        while self.comments and self.comments[0].row < row and self.comments[0].column >= column:
            comment = self.comments.pop(0)
            self.blank_above(comment.row)
            self.out.append(indent + comment.text)

    def comments_inside(self, first: int, last: int) -> tuple[list[str], list[str]]:
        """The comments on rows first..last: those to go above the statement, and the last one beside its words, to stay."""
        inside = [comment for comment in self.comments if first <= comment.row <= last]
        beside = [comment for comment in inside if not comment.alone][-1:]
        return [comment.text for comment in inside if comment not in beside], [comment.text for comment in beside]

    def put(self, lines: list[str], first: int, last: int, indent: str) -> None:
        """The statement of rows first..last, with its comments."""
        self.blank_above(first)
        above, beside = self.comments_inside(first, last)
        self.comments = [comment for comment in self.comments if comment.row > last]
        self.out += [indent + line for line in (*above, *lines)]
        self.out[-1] += "".join(f"  {comment}" for comment in beside)

    # ---- blocks

    def block(self, entries: Sequence[Entry], indent: str, end: int) -> None:
        """The entries and the comments among them; `end` is the row of what follows the block."""
        nexts = [*(entry.span.line for entry in entries[1:]), end]
        for entry, text, following in zip(entries, self._aligned(entries), nexts, strict=True):
            self.comments_above(entry.span.line, indent)
            if isinstance(entry, t.Plate) and entry.body:
                self._headed(text, entry, entry.head_span.end_line, entry.body, indent, following)
            elif isinstance(entry, t.Guide | t.Infer | t.Fit):
                self._headed(text, entry, entry.span.line, entry.entries, indent, following)
            else:
                lines = self.unparse.wrapped(entry, text, WIDTH - len(indent))
                self.put(lines, entry.span.line, entry.span.end_line, indent)

    def _headed(self, head: str, node: t.Node, head_end: int, body: Sequence[Entry], indent: str, end: int) -> None:
        """A header and its block, with the comments below that are indented like the block."""
        inline = body[0].span.line == head_end  # then a comment there belongs to the body
        self.put([head], node.span.line, head_end - inline, indent)
        self.head = len(self.out)
        self.block(body, indent + INDENT, end)
        if not inline:
            self.comments_above(end, indent + INDENT, body[0].span.column - 1)

    def _aligned(self, entries: Sequence[Entry]) -> list[str]:
        """The entries' texts; among neighbours a column is as wide as its widest cell, not counting cells that end a line."""
        texts: list[str] = []
        for run in self._runs(entries):
            table = [self.unparse.cells(entry) for entry in run]
            widths = [max((len(row[i]) for row in table if i < len(row) - 1), default=0) for i in range(max(map(len, table)))]
            texts += [" ".join((*(row[i].ljust(widths[i]) for i in range(len(row) - 1)), row[-1])) for row in table]
        return texts

    def _runs(self, entries: Sequence[Entry]) -> list[list[Entry]]:
        """The entries in groups of one kind on successive lines, where neither a blank line nor a comment comes between."""
        runs: list[list[Entry]] = []
        for entry in entries:
            last = runs[-1][-1] if runs else None
            above, _ = self.comments_inside(entry.span.line, entry.span.end_line)
            if type(last) is type(entry) and last is not None and entry.span.line <= last.span.end_line + 1 and not above:
                runs[-1].append(entry)
            else:
                runs.append([entry])
        return runs
