"""Which values have lines of their own, in which order, under which names; and how a long line is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

from vispec.program.axis import Axis
from vispec.program.node import Density, Input, Loop, Map, Node, Part, Pick, Position, Reduce, Source, Stop
from vispec.torch.nodes import loops
from vispec.torch.nodes.along import METHODS
from vispec.torch.nodes.writer import Writer, parted
from vispec.torch.text.code import POSTFIX, Args, Attribute, Code, Global, Slot, Told, expanded, pieces_of, slots
from vispec.torch.text.hints import Hints
from vispec.torch.text.names import ModuleNames, Names

WIDTH = 124  # of 128, as methods stand inside a class
SHORT = 48  # what stands inside another expression
LOGARITHMS = {repr(log(n)): n for n in range(2, 1001)}
BRIEF = 28  # what stands among arguments, or is indexed


@dataclass(frozen=True)
class Needs:
    """What lines need from the file and from the module: kernels by (module, name), attributes by (kind, name), `F`."""

    kernels: frozenset[tuple[str, str]]
    attributes: frozenset[tuple[str, str]]
    functional: bool


class Lines:
    """The lines of one method from what is written of its nodes."""

    def __init__(self, w: Writer, module: ModuleNames, reserved: Iterable[str], indent: int):
        self.w, self.module, self.indent = w, module, indent
        self.codes = {node: value.code for node, value in w.values.items()}
        self.roots = [value.code for value in w.outputs.values()]
        self.within = loops.within(w)
        self.steps, self.branches = loops.of_steps(self), loops.in_one_branch(self)
        self.reached = self.live()
        self.reads = Counter(slot.node for code in self.every() for slot in slots(code))
        self.globals = {piece for code in self.every() for piece in pieces_of(code) if isinstance(piece, Global)}
        self.reserved = {*reserved, *(each.name for each in self.globals)}
        self.inline = self.inlined()
        self.name()
        while (long := self.too_long()) is not None:
            self.inline.discard(long)
            self.name()

    # ---- what is there

    def line_of(self, node: Node) -> Node:
        """The node whose expression gives a value: of one part of several, the source's."""
        return node.source if isinstance(node, Part) and parted(node.source) else node

    def code(self, node: Node) -> Code:
        return self.codes[self.line_of(node)]

    def live(self) -> list[Node]:
        """The nodes that the outputs read, arguments first, in the order in which they are read."""
        read = {node: [slot.node for slot in slots(code)] for node, code in self.codes.items()}
        height: dict[Node, int] = {}
        for root in self.roots:
            self.below(root, read, height)
        # of what a line reads, what takes most lines comes first, so that the rest stands close to where it is read
        lines = dict.fromkeys(map(self.line_of, height))
        deep = {node: sorted(read[node], key=lambda arg: -height[arg]) for node in lines}
        found: dict[Node, int] = {}
        for root in self.roots:
            self.below(root, deep, found)
        return list(found)

    def below(self, root: Code, read: Mapping[Node, list[Node]], height: dict[Node, int]) -> None:
        """What a root reads, arguments first, each with the longest way down from it."""
        stack = [(slot.node, False) for slot in reversed([*slots(root)])]
        while stack:
            node, ready = stack.pop()
            if node in height:
                continue
            args = read[self.line_of(node)]
            if ready:
                height[node] = 1 + max((height[arg] for arg in args), default=0)
            else:
                stack.append((node, True))
                stack += [(arg, False) for arg in reversed(args) if arg not in height]

    def every(self) -> list[Code]:
        lines = dict.fromkeys(map(self.line_of, self.reached))
        return [*(self.codes[node] for node in lines), *self.roots]

    def needs(self) -> Needs:
        pieces = [piece for code in self.every() for piece in pieces_of(code)]
        return Needs(
            frozenset((each.module, each.name) for each in self.globals if each.module),
            frozenset((each.kind, each.name) for each in pieces if isinstance(each, Attribute)),
            any(each.name == "F" for each in self.globals),
        )

    # ---- what has no line

    def inlined(self) -> set[Node]:
        """Values that stand where they are read: read once, short, and no operation that a reader looks for."""
        found = set[Node]()
        self.length: dict[Node, int] = {}
        where: dict[Node, tuple[Node | None, Slot, bool]] = {}
        for reader in [*self.reached, None]:
            for code in [self.code(reader)] if reader is not None else self.roots:
                among = {
                    id(slot)
                    for piece in pieces_of(code)
                    if isinstance(piece, Args)
                    for item in piece.items
                    for slot in slots(item)
                }
                for slot in slots(code):
                    where[slot.node] = (reader, slot, id(slot) in among)
        for node in self.reached:
            reader, slot, argument = where[node]
            self.length[node] = self.guess(self.code(node), found)
            if self.stands_inside(node, reader, slot, argument):
                found.add(node)
        return found

    def guess(self, code: Code, inline: set[Node]) -> int:
        """About how long the text is."""
        total = 0
        for piece in pieces_of(code):
            match piece:
                case str():
                    total += len(piece)
                case Slot(node):
                    total += self.length[node] if node in inline else 10
                case Args(_, items):
                    total += 2 + 2 * len(items)
                case Global(name) | Attribute(_, name):
                    total += len(name) + 5
        return total

    def stands_inside(self, node: Node, reader: Node | None, slot: Slot, argument: bool) -> bool:
        if self.reads[node] > 1 or self.line_of(node) is not node:
            return False
        if isinstance(reader, Loop):
            return self.stands_in_step(node)
        if reader is not None and self.within.get(reader) != self.within.get(node):
            return False
        code = self.codes[node]
        whole = reader is None and any(root.pieces == (slot,) for root in self.roots)
        if whole and len(self.roots) == 1:
            return True  # what is returned
        if node in self.w.program.hints:
            return False
        light = isinstance(node, Map | Stop | Position) or (isinstance(node, Reduce) and not argument and node.op in METHODS)
        if isinstance(reader, Reduce) and reader.op in METHODS and not argument and isinstance(node, Density | Pick):
            return code.level >= POSTFIX  # log_prob(...).sum(-1)
        if not light or node in self.w.chosen or isinstance(reader, Source):
            return False
        if reader is not None and not isinstance(reader, Map | Reduce | Stop) and self.length[node] > BRIEF:
            return False
        if slot.named and (code.level < POSTFIX or self.length[node] > BRIEF):
            return False
        if isinstance(node, Position):
            return isinstance(reader, Map)
        return self.length[node] <= (SHORT if not argument else BRIEF + 8)

    def stands_in_step(self, node: Node) -> bool:
        """Whether what a step puts out stands where it is kept."""
        inside = node in self.within or isinstance(node, Pick)
        return inside and node not in self.w.program.hints and self.length[node] <= SHORT

    # ---- names and text

    def lined(self) -> list[Node]:
        """What has a line, in order; of several parts of one source the first."""
        found: dict[Node, None] = {}
        for node in self.reached:
            if node not in self.inline:
                found[self.line_of(node)] = None
        return list(found)

    def name(self) -> None:
        """Names of lines: of inputs, of what the spec names, then of all else, in their order."""
        names = Names(self.reserved)
        self.hints = hints = Hints(self.w, names, self.steps)
        self.names: dict[Node, str] = {}
        self.told: dict[tuple[str, int | None], str] = {}
        self.fresh = names.fresh
        order = [each for node in self.lined() for each in self.targets(node)]
        for node in (each for each in order if isinstance(each, Input)):
            self.names[node] = hints.fresh(node, self.names)
        for node in (each for each in order if each in self.w.program.hints and not isinstance(each, Input)):
            self.names[node] = hints.fresh(node, self.names)
        alike = dict[tuple[str, int], str]()
        for node in (each for each in order if each not in self.names):
            output = self.branches.get(node)
            known = alike.get(output) if output else None
            self.names[node] = known or hints.fresh(node, self.names)
            if output:
                alike[output] = self.names[node]
        for loop in self.w.loops:
            loops.names_of(self, loop)

    def targets(self, node: Node) -> Sequence[Node]:
        """The values that a line names."""
        if isinstance(node, Source) and parted(node):
            parts = [each for each in self.reached if isinstance(each, Part) and each.source is node]
            parts.sort(key=lambda part: part.index)
            return parts
        return [node]

    def flat(self, code: Code) -> Code:
        """With what stands inside in its place."""
        return expanded(code, {node: self.codes[node] for node in self.inline})

    def render(self, code: Code) -> str:
        return "".join(map(self.piece, code.pieces))

    def piece(self, piece: str | Slot | Args | Global | Attribute | Told) -> str:
        match piece:
            case str():
                return piece
            case Slot(node):
                return self.names[node]
            case Args(opening, items, closing):
                return opening + ", ".join(map(self.render, items)) + closing
            case Global(name):
                return name
            case Told():
                return loops.told(self, piece)
            case Attribute(kind, name):
                return f"self.{self.module.attribute(kind, name)}"

    def target(self, node: Node) -> str:
        """`name = `; of several outputs those that are read, `_` for others."""
        if isinstance(node, Source) and parted(node):
            named = {each.index: self.names[each] for each in self.targets(node) if isinstance(each, Part)}
            return ", ".join(named.get(at, "_") for at in range(len(node.outputs))) + " = "
        return f"{self.names[node]} = "

    def comment(self, shapes: Iterable[tuple[Axis, ...]], code: Code, label: Mapping[Axis, str]) -> str:
        """The shapes of what a line makes, and what its constants are."""
        found = list(dict.fromkeys(shape(dims, label) for dims in shapes))
        told = [", ".join(each or "()" for each in found)] if any(found) else []
        told += dict.fromkeys(
            f"{piece.removeprefix('-')} = log {LOGARITHMS[piece.removeprefix('-')]}"
            for piece in pieces_of(code)
            if isinstance(piece, str) and piece.removeprefix("-") in LOGARITHMS
        )
        return f"  # {'; '.join(told)}" if told else ""

    def too_long(self) -> Node | None:
        """The longest of what stands inside a line that is too long."""
        for node in [*self.lined(), None]:
            for code in [self.codes[node]] if node is not None else self.roots:
                line = self.render(self.flat(code))
                start = self.target(node) if node is not None else "return "
                if self.indent + len(start) + len(line) > WIDTH - 24:
                    inside = [each for each in self.inside(code) if self.length[each] > 12 and each in self.inline]
                    if node is None and len(inside) == 1 and code.pieces == (Slot(inside[0]),):
                        inside = [each for each in self.inside(self.codes[inside[0]]) if self.length[each] > 12]
                    if inside:
                        return max(inside, key=lambda each: self.length[each])
        return None

    def inside(self, code: Code) -> list[Node]:
        found = list[Node]()
        for slot in slots(code):
            if slot.node in self.inline:
                found += [slot.node, *self.inside(self.codes[slot.node])]
        return found

    def labels(self) -> dict[Axis, str]:
        """How axes are called in comments: by their hints; the later of two in one shape that have the same gets a stroke."""
        shapes = [self.w.values[each].dims for node in self.lined() for each in self.targets(node)]
        shapes += [value.dims for value in self.w.outputs.values()]
        found: dict[Axis, str] = {}
        for axis in sorted({axis for dims in shapes for axis in dims}, key=lambda axis: axis.serial):
            beside = {found.get(other) for dims in shapes if axis in dims for other in dims}
            name = axis.hint
            while name in beside:
                name += "'"
            found[axis] = name
        return found

    def body(self) -> list[str]:
        label = self.labels()
        found = list[str]()
        for node in (each for each in self.lined() if each not in self.within):
            if isinstance(node, Loop):
                found += loops.lines_of(self, node, label, self.indent)
            else:
                found += self.line(node, label, self.indent)
        return found

    def line(self, node: Node, label: Mapping[Axis, str], indent: int) -> list[str]:
        """`name = value  # (shape)`."""
        code = self.flat(self.codes[node])
        shapes = [self.w.values[each].dims for each in self.targets(node)]
        return self.broken(self.target(node), code, self.comment(shapes, code, label), indent)

    def comment_of(self, dims: tuple[Axis, ...], label: Mapping[Axis, str]) -> str:
        return f"  # {shape(dims, label)}" if dims else ""

    def broken(self, start: str, code: Code, end: str, indent: int) -> list[str]:
        """One line if it fits, else several: the last list in brackets is broken, or the expression at its operators."""
        line = " " * indent + start + self.render(code)
        if len(line + end) <= WIDTH:
            return [line + end]
        lists = [at for at, piece in enumerate(code.pieces) if isinstance(piece, Args) and piece.items]
        at = max(lists, key=lambda at: len(self.piece(code.pieces[at])), default=None)
        if code.operators:
            return self.at_operators(start, code, end, indent)
        if at is None:
            return [line + end] if len(line) + len(end.strip()) <= WIDTH else [line]
        args = code.pieces[at]
        assert isinstance(args, Args)
        head = start + "".join(map(self.piece, code.pieces[:at])) + args.open
        tail = args.close.removeprefix(",") + "".join(map(self.piece, code.pieces[at + 1 :])) + end
        inner = " " * (indent + 4) + ", ".join(map(self.render, args.items)) + ("," if args.close.startswith(",") else "")
        if len(inner) <= WIDTH:
            return [" " * indent + head, inner, " " * indent + tail]
        lines = [line for item in args.items for line in self.broken("", item, ",", indent + 4)]
        return [" " * indent + head, *lines, " " * indent + tail]

    def at_operators(self, start: str, code: Code, end: str, indent: int) -> list[str]:
        places = [0, *code.operators, len(code.pieces)]
        rows = ["".join(map(self.piece, code.pieces[a:b])).strip() for a, b in pairwise(places)]
        return [" " * indent + start + "(", *(" " * (indent + 4) + row for row in rows), " " * indent + ")" + end]


def shape(dims: tuple[Axis, ...], label: Mapping[Axis, str]) -> str:
    """ "(n, c, D)", "(n,)"; nothing for a scalar."""
    names = [label[axis] for axis in dims]
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})" if names else ""
