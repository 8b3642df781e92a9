"""A net of symbols of a vocabulary is run once for each that occurs: of 1,000 tokens of a batch some 200 differ.

net(x) → net(words)[row], words being the distinct ones of x and row which of them each element is."""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.node import Call, Carried, Decide, Draw, Input, Link, Node, Part, Pick, Rename, Spread
from vispec.program.program import Program
from vispec.program.walk import nodes
from vispec.rewrite.rules import Rule

KERNEL = "vispec.kernels.distinct:distinct"


class Distinct:
    """hints: names of the symbols and rows. known: of each tensor of symbols these two."""

    def __init__(self, hints: dict[Node, str]):
        self.hints = hints
        self.known: dict[Node, tuple[Node, Node]] = {}

    def rule(self, node: Node) -> Node | None:
        match node:
            case Part(Call("net", name, ((symbols, (), ""),), results, settings), index) if "symbols" in dict(settings):
                if not symbols.axes or not from_data(symbols):
                    return None
                words, row = self.of(symbols)
                made = Part(Call("net", name, ((words, (), ""),), results, settings), index)
                self.hints |= {made: self.hints[node]} if node in self.hints else {}
                return build.pick(made, {axis: row for axis in words.axes})
            case Link(op, Pick(Part(Call("net")) as table, ((axis, row),)), over) if axis.kind == "rows":
                return build.pick(build.link(op, table, over), {axis: row})
        return None

    def of(self, symbols: Node) -> tuple[Node, Node]:
        """The distinct symbols, and each element's place among them."""
        if symbols not in self.known:
            order, rows = ordered(symbols.axes), Axis("distinct", "rows")
            call = Call("kernel", KERNEL, ((symbols, order, ""),), (((rows,), "int"), (order, "int")), ())
            words, row = self.known[symbols] = Part(call, 0), Part(call, 1)
            stem = self.hints.get(symbols) or name_of(symbols)
            self.hints |= {words: f"{stem}_words", row: f"{stem}_row"}
        return self.known[symbols]


def name_of(symbols: Node) -> str:
    match symbols:
        case Input(name):
            return name
        case Rename(arg) | Spread(arg):
            return name_of(arg)
    return "symbol"


def from_data(symbols: Node) -> bool:
    """Whether they are computed from a batch's, not drawn, and not distinct already."""
    read = list(nodes([symbols]))
    apart = any(isinstance(each, Carried | Decide | Draw) for each in read) or any(axis.kind == "rows" for axis in symbols.axes)
    return not apart and any(isinstance(each, Input) and each.source == "batch" for each in read)


def rewrite(program: Program, numbers: Numbers) -> Program:
    hints = dict(program.hints)
    found = program.rewritten(Distinct(hints).rule)
    return Program(found.outputs, {**hints, **found.hints}, found.spans)


ENTRY = Rule(name="distinct", what="nets of symbols are run once for each that occurs", rewrite=rewrite)
