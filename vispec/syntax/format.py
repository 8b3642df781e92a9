"""The canonical form of a spec: four spaces a level, columns aligned among neighbours, comments and single blank lines kept."""

from collections.abc import Sequence

from vispec.syntax import tree as t
from vispec.syntax.unparse import Unparser

WIDTH = 120  # a longer net, or a longer `then`, goes on below
INDENT = " " * 4

Entry = t.Statement | t.GuideLaw | t.GuideLet | t.InferLaw | t.FitEntry
Cells = tuple[str, ...]


def format_tree(tree: t.Tree) -> str:
    """The tree as canonical text; parsing it again gives the same tree, up to spans."""
    printer = _Printer(tree)
    end = len(printer.rows) + 1
    printer.block(tree.body, "", end)
    printer.comments_before(end, "")
    return "\n".join(printer.out) + "\n"


class _Printer:
    def __init__(self, tree: t.Tree):
        self.rows = tree.source.text.split("\n")
        self.comments = list(tree.comments)
        self.unparse = Unparser(tree.source)
        self.out: list[str] = []
        self.head = 0  # where the present block begins in `out`

    # ---- what stands around statements

    def blank_before(self, row: int) -> None:
        """One blank line where the text has any, but not at the head of the file or of a block."""
        if row > 1 and not self.rows[row - 2].strip() and len(self.out) > self.head:
            self.out.append("")

    def comments_before(self, row: int, indent: str, column: int = 0) -> None:
        """The comments on lines of their own above `row`, as far as they are indented by at least `column`."""
        while self.comments and self.comments[0][0] < row and self._column(self.comments[0][0]) >= column:
            number, comment = self.comments.pop(0)
            self.blank_before(number)
            self.out.append(indent + comment)

    def _column(self, row: int) -> int:
        return len(self.rows[row - 1]) - len(self.rows[row - 1].lstrip())

    def put(self, lines: list[str], first: int, last: int, indent: str) -> None:
        """A statement from rows first..last. The last comment beside its words stays at its end, all others go above."""
        self.blank_before(first)
        inside = [pair for pair in self.comments if first <= pair[0] <= last]
        self.comments = [pair for pair in self.comments if pair[0] > last]
        beside = [pair for pair in inside if not self.rows[pair[0] - 1].lstrip().startswith("#")][-1:]
        self.out += [indent + comment for number, comment in inside if (number, comment) not in beside]
        self.out += [indent + line for line in lines]
        self.out[-1] += "".join(f"  {comment}" for _, comment in beside)

    # ---- blocks

    def block(self, entries: Sequence[Entry], indent: str, end: int) -> None:
        """The entries and the comments among them; `end` is the row of what follows the block."""
        nexts = [*(entry.span.line for entry in entries[1:]), end]
        for entry, text, following in zip(entries, self._aligned(entries), nexts, strict=True):
            self.comments_before(entry.span.line, indent)
            if isinstance(entry, t.Plate):
                self._headed(text, entry, entry.head_span.end_line, entry.body, indent, following)
            elif isinstance(entry, t.Guide | t.Infer | t.Fit):
                self._headed(text, entry, entry.span.line, entry.entries, indent, following)
            else:
                self.put(self._wrapped(entry, text, len(indent)), entry.span.line, entry.span.end_line, indent)

    def _headed(self, head: str, node: t.Node, head_end: int, body: Sequence[Entry], indent: str, end: int) -> None:
        """A header and its block, with the comments below that are indented like the block."""
        inline = body[0].span.line == head_end  # then a comment there belongs to the body
        self.put([head], node.span.line, head_end - inline, indent)
        self.head = len(self.out)
        self.block(body, indent + INDENT, end)
        if not inline:
            self.comments_before(end, indent + INDENT, body[0].span.column - 1)

    def _aligned(self, entries: Sequence[Entry]) -> list[str]:
        """The entries' texts; among neighbours a column is as wide as its widest cell, not counting cells that end a line."""
        texts: list[str] = []
        for run in _runs(entries):
            table = [self._cells(entry) for entry in run]
            widths = [max((len(row[i]) for row in table if i < len(row) - 1), default=0) for i in range(max(map(len, table)))]
            texts += [" ".join((*(row[i].ljust(widths[i]) for i in range(len(row) - 1)), row[-1])) for row in table]
        return texts

    # ---- statements

    def _cells(self, entry: Entry) -> Cells:
        """The parts of a statement that are aligned with those of its neighbours."""
        show = self.unparse
        match entry:
            case t.Variable(role=role, name=name, type=kind, law=law):
                tail = () if law is None else (f"~ {' then '.join(show.law(law))}",)
                return (role, name.id, f": {show.type(kind)}", *tail)
            case t.Param(name=name, type=kind):
                return (f"param {name.id}", f": {show.type(kind)}")
            case t.GuideLaw(name=name, law=law):
                return (name.id, f"~ {' then '.join(show.law(law))}")
            case t.InferLaw(name=name):
                return (name.id, f": {show.estimator(entry)}")
            case t.FitEntry(key=key, value=value):
                return (key.id, f": {show.setting(value)}")
            case _:
                return (self._line(entry),)

    def _line(self, entry: Entry) -> str:
        show = self.unparse
        match entry:
            case t.Size(name=name, value=value):
                return f"size {name.id}" + (f" = {show.expression(value, 1)}" if value is not None else "")
            case t.Vocab(name=name, options=options):
                return f"vocab {name.id}" + (f"({show.items(options)})" if options else "")
            case t.Let(name=name, value=value) | t.GuideLet(name=name, value=value):
                return f"let {name.id} = {show.expression(value)}"
            case t.Net():
                return f"{self._signature(entry)} = {' |> '.join(self._trunk(entry))}"
            case t.Plate(kind=kind, name=name, size=size):
                return f"{kind} {name.id}" + (f"[{show.expression(size, 1)}]" if size is not None else "") + ":"
            case _:
                return f"{type(entry).__name__.lower()}:"

    def _signature(self, net: t.Net) -> str:
        return f"net {net.name.id}({self.unparse.named(net.args)}) -> {self.unparse.heads(net.heads)}"

    def _trunk(self, net: t.Net) -> list[str]:
        stages = [self.unparse.stage(stage) for stage in net.trunk]
        if net.prior is not None:
            stages[-1] += f" ~ {self.unparse.expression(net.prior, 1)}"
        return stages

    def _wrapped(self, entry: Entry, text: str, indent: int) -> list[str]:
        """The statement on one line, or on several where it is too long and can go on below."""
        room = WIDTH - indent
        if len(text) <= room:
            return [text]
        if isinstance(entry, t.Net):
            stages = self._trunk(entry)
            trunk = f"{INDENT}= {' |> '.join(stages)}"
            below = (
                [trunk] if len(trunk) <= room else [f"{INDENT}= {stages[0]}", *(f"{INDENT}|> {stage}" for stage in stages[1:])]
            )
            return [self._signature(entry), *below]
        if isinstance(entry, t.Variable | t.GuideLaw) and isinstance(entry.law, t.Then):
            _, *later = self.unparse.law(entry.law)
            first = text.removesuffix("".join(f" then {law}" for law in later))
            return [first, *(f"{INDENT}then {law}" for law in later)]
        return [text]


def _runs(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries in groups of one kind on successive lines, with no blank line or comment between."""
    runs: list[list[Entry]] = []
    for entry in entries:
        last = runs[-1][-1] if runs else None
        if last is not None and type(last) is type(entry) and entry.span.line <= last.span.end_line + 1:
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return runs
