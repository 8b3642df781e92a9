"""The expression of each node of a program, from those of its arguments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vispec.program.axis import Axis, ordered
from vispec.program.node import (
    Carried,
    Const,
    Draw,
    Extent,
    Flag,
    Input,
    Loop,
    Map,
    Node,
    Noise,
    Number,
    Part,
    Position,
    Rename,
    Source,
    Spread,
    Stop,
    Zeros,
)
from vispec.program.program import Program
from vispec.program.size import Size, Whole
from vispec.program.walk import inside_loops
from vispec.torch.nodes.implementation import Target, choose
from vispec.torch.text.code import (
    POWER,
    SUM,
    TERM,
    Attribute,
    Code,
    Global,
    Slot,
    attribute,
    binary,
    call,
    index,
    method,
    negated,
    number,
    text,
    unary,
)
from vispec.torch.text.layout import Value, aligned, turned
from vispec.torch.text.names import local

ONE = Code((Attribute("buffer", "one"),))
DEVICE = attribute(ONE, "device")
ATOMS = (Const, Number, Extent, Flag, Rename, Spread, Carried)
"""Written where they are read; nothing is computed for them."""


def parted(source: Source) -> bool:
    """Whether its outputs are names that its line gives."""
    return len(source.outputs) > 1 or isinstance(source, Loop)


def is_name(code: Code) -> bool:
    """Whether it is the value of another node, as it is."""
    return len(code.pieces) == 1 and isinstance(code.pieces[0], Slot)


class Writer:
    """values: what is written so far. told: how many elements axes have that nothing else tells, as text. shaped: inputs that
    are there, though the program does not read them, and tell how many elements axes have. graph: whether gradients are asked
    for. loops: of each the outputs that are kept."""

    def __init__(
        self,
        program: Program,
        target: Target | None = None,
        told: Mapping[Axis, str] | None = None,
        shaped: Iterable[Input] = (),
        orders: Mapping[str, Sequence[Axis]] | None = None,
        graph: bool = True,
    ):
        self.graph, self.loops = graph, dict[Loop, Any]()
        self.program, self.target = program, target or Target()
        self.told = {axis.origin: size for axis, size in (told or {}).items()}
        self.values: dict[Node, Value] = {}
        self.order, self.chosen = choose(program, self.target)
        self.read_by: dict[Node, set[Node]] = {}
        for node in self.order:
            for arg in self.reads(node):
                self.read_by.setdefault(arg, set()).add(node)
        self.readers = Counter(arg for node in self.order for arg in {*self.reads(node)})
        self.inputs = [node for node in program.nodes() if isinstance(node, Input)]
        self.inputs.sort(key=lambda node: node.source != "batch")
        self.inputs += [node for node in shaped if node not in self.inputs]
        self.written: dict[tuple[Code, str], Node] = {}
        self.in_loops = {node for node, found in inside_loops(program.nodes()).items() if found}
        for node in self.order:
            self.values[node] = self.once(node, self.write(node))
        self.outputs = {name: self.output(node, (orders or {}).get(name)) for name, node in program.outputs.items()}

    def reads(self, node: Node) -> Sequence[Node]:
        return self.chosen[node][1].takes if node in self.chosen else node.args

    def once(self, node: Node, value: Value) -> Value:
        """The value; of what has the same text as another one, that one: it is the same along other axes.

        What is drawn, or may be, is never another's, nor is what one branch of a loop's body computes."""
        if value.python or node in self.program.hints or node in self.in_loops:
            return value
        if isinstance(node, Input | Draw | Noise | Zeros | Source | Part | Carried):
            return value
        if is_name(value.code):
            return value  # a name for a name is a line that says nothing
        if self.chosen.get(node) and any(isinstance(each, Noise) for each in self.chosen[node][1].covers):
            return value
        first = self.written.setdefault((value.code, value.dtype), node)
        return value if first is node else replace(value, code=Code((Slot(first),)))

    def write(self, node: Node) -> Value:
        if node in self.chosen:
            implementation, match = self.chosen[node]
            return implementation.write(self, node, match)
        return PLAIN[type(node)](self, node)

    def value(self, node: Node) -> Value:
        """A node's value where it is read."""
        found = self.values[node]
        if isinstance(node, ATOMS) or found.python or (isinstance(node, Input) and node.source != "batch"):
            return found
        if is_name(found.code):
            return found
        if (
            isinstance(node, Map)
            and node.op == "neg"
            and negated(found.code) is not None
            and self.readers[node] == 1
            and node not in self.program.hints
        ):
            return found  # a sign goes with what reads it
        return replace(found, code=Code((Slot(node),)))

    # ---- what most need

    def kernel(self, module: str, name: str) -> Global:
        """A function of vispec/kernels."""
        return Global(name, f"vispec.kernels.{module}")

    def functional(self, name: str) -> Code:
        return Code((Global("F"), f".{name}"))

    def tensor(self, value: Value) -> Value:
        """A Python number as a tensor."""
        if not value.python:
            return value
        if value.dtype == "real":
            return replace(value, code=binary(TERM, ONE, ("*", value.code)), python=False)
        return replace(value, code=call("torch.tensor", value.code, device=DEVICE), python=False)

    def real(self, value: Value) -> Value:
        """Whole numbers and truths in the module's dtype."""
        if value.dtype == "real":
            return value
        if value.python:
            return replace(self.whole(value), dtype="real")
        return replace(value, code=method(value.code, "to", attribute(ONE, "dtype")), dtype="real")

    def whole(self, value: Value) -> Value:
        """Truths as whole numbers."""
        if value.dtype != "bool":
            return value
        if value.code.pieces in (("True",), ("False",)):
            return replace(value, code=number(int(value.code.pieces[0] == "True")), dtype="int")
        code = call("int", value.code) if value.python else method(value.code, "long")
        return replace(value, code=code, dtype="int")

    def full(self, value: Value, dims: Sequence[Axis]) -> Value:
        """The value with exactly these dimensions."""
        missing = [axis for axis in dims if axis not in value.dims]
        if not missing:
            return turned(value, dims)
        value = self.tensor(value)
        if all(axis.origin.size is not None and axis.origin.size.number == 1 for axis in missing):
            return replace(value, code=aligned(value, dims, leading=True), dims=tuple(dims))
        sizes = [number(-1) if axis in value.dims else self.extent(axis) for axis in dims]
        return replace(value, code=method(aligned(value, dims), "expand", *sizes, named=bool(value.dims)), dims=tuple(dims))

    def output(self, node: Node, order: Sequence[Axis] | None) -> Value:
        """What a method returns: all axes, in the order that is asked for, or as usual."""
        return self.full(
            self.tensor(self.value(node)), order or (node.order if isinstance(node, Zeros) else ordered(node.axes))
        )

    # ---- sizes

    def extent(self, axis: Axis) -> Code:
        """How many elements an axis has, padding included; of joint values as many as there are at a time."""
        origin = axis.origin
        if origin in self.told:
            return text(self.told[origin])
        if origin.size is not None:
            return self.size(origin.size)
        for node in self.inputs:
            for place, own in enumerate(node.order):
                if own.origin is origin:
                    return index(attribute(self.named(node), "shape"), [str(place)])
        if origin.more:
            return binary(SUM, self.extent(origin.of[0]), ("+", number(origin.more)))
        if origin.kind == "joint":
            values, *along = map(self.extent, origin.of)
            cells = binary(TERM, along[0], *(("*", each) for each in along[1:])) if len(along) > 1 else along[0]
            return binary(POWER, values, ("**", cells))
        if origin.of:
            first, *more = map(self.extent, origin.of)
            return binary(TERM, first, *(("*", each) for each in more))
        if isinstance(origin.lengths, Input):
            longest = method(self.named(origin.lengths), "max")
            return call("int", longest)
        raise ValueError(f"nothing says how many elements {axis} has")

    def named(self, node: Input) -> Code:
        self.values.setdefault(node, self.write(node))
        return self.value(node).code

    def size(self, size: Size) -> Code:
        """A polynomial in the sizes that the constructor keeps."""
        terms = sorted(size.terms, key=lambda term: (term[1] < 0, -len(term[0]), str(term[0])))
        if not terms:
            return number(0)
        codes = [(count < 0, self.monomial(factors, abs(count))) for factors, count in terms]
        (minus, first), *rest = codes
        first = unary("-", first) if minus else first
        return binary(SUM, first, *(("-" if minus else "+", code) for minus, code in rest)) if rest else first

    def monomial(self, factors: tuple[str | Whole, ...], count: int) -> Code:
        codes = [*([number(count)] if count != 1 or not factors else []), *map(self.factor, factors)]
        return binary(TERM, codes[0], *(("*", code) for code in codes[1:])) if len(codes) > 1 else codes[0]

    def factor(self, factor: str | Whole) -> Code:
        if isinstance(factor, str):
            return Code((Attribute("size", factor),))
        left, right = self.size(factor.left), self.size(factor.right)
        return binary(POWER, left, ("**", right)) if factor.op == "power" else binary(TERM, left, ("//", right))


def _input(w: Writer, node: Input) -> Value:
    code = {
        "batch": lambda: index(text("batch"), [json.dumps(node.name, ensure_ascii=False)]),
        "parameter": lambda: Code((Attribute("parameter", node.name),)),
        "property": lambda: Code((Attribute("property", node.name),)),
        "argument": lambda: text(node.name),
        "shared": lambda: text(local(node.name)),
        "mode": lambda: index(text("mode"), [json.dumps(node.name, ensure_ascii=False)]),
        "values": lambda: index(text("values"), [json.dumps(node.name, ensure_ascii=False)]),
        "lengths": lambda: index(text("lengths"), [json.dumps(node.name, ensure_ascii=False)]),
        "net": lambda: Code((Attribute("net", node.name),)),
        "buffer": lambda: Code((Attribute("buffer", node.name),)),
        "setting": lambda: Code((Attribute("buffer", node.name),)),
        "tilt": lambda: index(text("tilt"), [json.dumps(node.name, ensure_ascii=False)]),
    }[node.source]()
    python = node.source == "setting" or (node.source == "argument" and node.kind == "bool" and not node.order)
    return Value(code, node.order, node.kind, python=python)


def _const(w: Writer, node: Const) -> Value:
    return Value(number(node.value), (), node.dtype, python=True)


def _rename(w: Writer, node: Rename) -> Value:
    new, found = dict(node.pairs), w.value(node.arg)
    return replace(found, dims=tuple(new.get(axis, axis) for axis in found.dims))


def _position(w: Writer, node: Position) -> Value:
    return Value(call("torch.arange", w.extent(node.axis), device=DEVICE), (node.axis,), "int")


def _zeros(w: Writer, node: Zeros) -> Value:
    return Value(method(ONE, "new_zeros", *map(w.extent, node.order)), node.order)


def _stop(w: Writer, node: Stop) -> Value:
    found = w.value(node.arg)
    return found if found.python else replace(found, code=method(found.code, "detach"))


Written = Callable[[Writer, Any], Value]

PLAIN: dict[type, Written] = {
    Input: _input,
    Const: _const,
    Number: lambda w, node: Value(w.size(node.size), (), "int", python=True),
    Extent: lambda w, node: Value(w.extent(node.axis), (), "int", python=True),
    Flag: lambda w, node: Value(text(f"self.{node.name}"), (), "bool", python=True),
    Position: _position,
    Zeros: _zeros,
    Rename: _rename,
    Spread: lambda w, node: w.value(node.arg),
    Stop: _stop,
}
"""How each kind of node is written where no implementation is chosen; other files of this room add theirs."""
