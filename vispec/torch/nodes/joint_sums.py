"""Sums over all joint values of latents, in bounded memory: what depends on the values is a method of its own, called with the
numbers of some of them at a time.

log Σ_s exp(body(s)) → enumerated_log_sum(self.log_joint_of_z, context, ...), where the context is what body reads that is the
same for all s."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf

from vispec.model.model import Net
from vispec.program import build
from vispec.program.axis import Axis, copy, ordered
from vispec.program.facts import is_tilted
from vispec.program.node import (
    Call,
    Carried,
    Const,
    Dtype,
    Extent,
    Input,
    Link,
    Map,
    Node,
    Part,
    Pick,
    Position,
    Reduce,
    Rename,
    Source,
    Spread,
)
from vispec.program.program import Program
from vispec.program.walk import nodes, substitute
from vispec.torch.text.names import PYTHON, Names
from vispec.torch.text.source_text import kernel_names
from vispec.trunk import bind

HELD = ("parameter", "property", "buffer", "setting")
"""Inputs that the module holds."""


@dataclass(frozen=True)
class JointMethod:
    """The log-joint (*rows, s) at the joint values s that `index` numbers. context: its further arguments."""

    latent: str
    program: Program
    context: tuple[Input, ...]
    order: tuple[Axis, ...]


Printed = Callable[[JointMethod], str]


@dataclass(frozen=True)
class Layers:
    """width: how many numbers the layers of a net put out. draw: whether a call draws some of them."""

    width: int
    draw: bool


@dataclass
class JointSums:
    """layers: of nets, by name. shaped: inputs that tell how many elements axes have. method: what is
    done with a method, which gives its name."""

    hints: dict[Node, str]
    layers: Mapping[str, Layers]
    shaped: tuple[Input, ...]
    method: Printed

    def rule(self, node: Node) -> Node | None:
        match node:
            case Reduce("log_sum_exp" | "total" as op, arg, (axis,)) if axis.origin.kind == "joint":
                body, own = unrenamed(arg, axis)
                if not reads_digits(body, own) or any(isinstance(each, Carried) for each in nodes([body])):
                    return None
                if op == "log_sum_exp":
                    return self.made(body, own, "joint_sum")
                found = build.rename(self.apart(body, own), {own: axis})
                return build.reduce(op, found, (axis,)) if found is not arg else None
        return None

    def apart(self, body: Node, axis: Axis) -> Node:
        """The body of a query: what no tilt is part of is computed by the method."""
        if axis not in body.axes or body.dtype != "real":
            return body
        if not is_tilted(body):
            return self.made(body, axis, "joint_values")
        match body:
            case Map("add", operands):
                plain = [each for each in operands if not is_tilted(each)]
                tilts = [each for each in operands if is_tilted(each)]
                return build.add(self.apart(build.add(*plain), axis), *tilts) if plain else body
            case Map("where", (test, Map("add", operands), Const() as none)) if none.value == -inf:
                plain = [each for each in operands if not is_tilted(each)]
                tilts = [each for each in operands if is_tilted(each)]
                return build.add(self.apart(build.where(test, build.add(*plain), none), axis), *tilts) if plain else body
        return body

    def made(self, body: Node, axis: Axis, kind: str) -> Node:
        """The call of the kernel for a method that computes body. Calls: the context, with how many values there are."""
        held = Context(axis, self.hints)
        inner = held.inside(body, self.shaped)
        values, *plates = axis.origin.of
        rows = ordered(body.axes - {axis})
        found = JointMethod(values.hint, Program({"log_joint": inner}, self.hints), tuple(held.context.values()), (*rows, axis))
        # digits of the first plate come last: rows with fewer elements there have fewer values; others keep their places
        longest = [each.lengths for each in plates[:1] if each.lengths is not None] if kind == "joint_sum" else []
        lengths = tuple((each, ordered(each.axes), "") for each in longest)
        count = Part(
            Call("joint_count", values.hint, lengths, (((), "int"),), (("values", values), ("plates", tuple(plates)))), 0
        )
        width = self.width(body, axis, rows)
        given = tuple((node, order_of(node), "") for node in held.context)
        results: tuple[tuple[tuple[Axis, ...], Dtype], ...] = (((*rows, *([axis] if kind == "joint_values" else [])), "real"),)
        settings = (("count", count), ("rows", rows), ("width", width), ("draws", self.draws(body)))
        return Part(Call(kind, self.method(found), given, results, settings), 0)

    def width(self, body: Node, axis: Axis, rows: tuple[Axis, ...]) -> Node:
        """Numbers that one joint value of one row keeps for the gradient, roughly: thrice the outputs of all layers."""
        total: Node = build.node(4)
        for call in nodes([body]):
            if (
                isinstance(call, Call)
                and call.kind == "net"
                and axis in call.shared | {a for _, own, _ in call.given for a in own}
            ):
                heads = [build.mul(*(build.extent(each) for each in own if each is not axis)) for own, _ in call.results]
                around = [build.extent(each) for each in ordered(call.shared - {axis, *rows})]
                total = build.add(total, build.mul(build.add(self.layers[call.name].width, *heads), *around))
        return total

    def draws(self, body: Node) -> bool:
        """Whether nets that the body calls draw something, each time anew."""
        return any(self.layers[call.name].draw for call in nodes([body]) if isinstance(call, Call) and call.kind == "net")


def reads_digits(body: Node, axis: Axis) -> bool:
    """Whether something is computed for each joint value from its digits; else a kernel gives all values at once."""
    numbers = Position(axis)
    readers = (each for each in nodes([body]) if numbers in each.args)
    return any(not (isinstance(each, Map) and each.op == "lt") for each in readers)


def unrenamed(arg: Node, axis: Axis) -> tuple[Node, Axis]:
    """What is summed before an axis was called otherwise, and the axis there."""
    if isinstance(arg, Rename):
        own = next((old for old, new in arg.pairs if new is axis), axis)
        if len(arg.pairs) == 1:
            return arg.arg, own
    return arg, axis


class Context:
    """context: node → the argument that stands for it."""

    def __init__(self, axis: Axis, hints: Mapping[Node, str]):
        self.axis, self.hints, self.names = axis, hints, Names({*PYTHON, *kernel_names(), "index"})
        self.context: dict[Node, Input] = {}

    def inside(self, body: Node, shaped: Iterable[Input]) -> Node:
        """The body at the values that `index` numbers."""
        new: dict[Node, Node] = {Position(self.axis): Input("index", (self.axis,), "int", "argument")}
        for node in self.boundary(body):
            if self.axis in node.axes:  # a kernel gives it for all values
                whole = copy(self.axis)
                new[node] = build.pick(self.argument(node, whole), {whole: new[Position(self.axis)]})
            else:
                new[node] = self.argument(node)
        (found,) = substitute([body], new)
        known = {axis.origin for each in self.context.values() for axis in each.order}
        asked = {each.origin for node in nodes([body]) if not isinstance(node, Source) for each in node.axes}
        asked |= {node.axis.origin for node in nodes([body]) if isinstance(node, Extent)}
        for axis in asked - known:
            if axis.size is None and axis.kind == "plate":  # how many there are
                given = next((each for each in shaped if axis in {own.origin for own in each.order}), None)
                if given is not None and given not in self.context:
                    self.argument(given)
        return found

    def argument(self, node: Node, whole: Axis | None = None) -> Input:
        order = tuple(whole if each is self.axis and whole else each for each in order_of(node))
        name = self.names.fresh(self.hints.get(node) or name_of(node))
        self.context[node] = found = Input(name, order, node.dtype, "argument")
        return found

    def boundary(self, body: Node) -> list[Node]:
        """What the values' part reads of the rest."""
        found, seen, stack = dict[Node, None](), set[Node](), [body]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if self.varies(node) or is_of_bit(node):
                stack += reversed(node.args)
            elif not isinstance(node, Position) and (self.axis in axes_of(node) or depends(node)):
                found[node] = None
        return [*found]

    def varies(self, node: Node) -> bool:
        """Whether it is computed anew for each value; what a kernel gives for all at once is not. All outputs of a call are."""
        if isinstance(node, Part):
            return self.axis in axes_of(node.source)
        return self.axis in axes_of(node) and not isinstance(node, Position)


def order_of(node: Node) -> tuple[Axis, ...]:
    return node.order if isinstance(node, Input) else ordered(node.axes)


def is_of_bit(node: Node) -> bool:
    """Whether it is a logarithm, of one of two, that is taken with the other: of the one that a bit chooses."""
    return isinstance(node, Map) and (node.op == "log_sigmoid" or (node.op == "neg" and node.dtype == "real"))


def axes_of(node: Node) -> frozenset[Axis]:
    """Of several outputs, those of their arguments."""
    if isinstance(node, Source):
        return node.shared | {axis for _, own, _ in getattr(node, "given", ()) for axis in own}
    return node.axes


def depends(node: Node) -> bool:
    """Whether it is more than numbers, and what the module holds."""
    if isinstance(node, Input):
        return node.source not in HELD
    return any((isinstance(each, Input) and each.source != "setting") or isinstance(each, Source) for each in nodes([node]))


def name_of(node: Node) -> str:
    """What an argument is called that the spec does not name."""
    match node:
        case Input(name):
            return name.removeprefix("raw_")
        case Part(Call("net" as kind, name)) if kind:
            return name
        case Link(op, arg):
            return f"log_{name_of(arg)}" if op == "log_softmax" else name_of(arg)
        case Map("lt", (Position(axis), _)):
            return f"inside_{axis.hint}"
        case Map("where", (_, then, _)):
            return name_of(then)
        case Map("log_sigmoid", (arg,)):
            return f"log_{name_of(arg)}"
        case Rename(arg) | Spread(arg) | Pick(arg) | Map("real" | "int" | "bool" | "neg" | "softplus" | "sigmoid", (arg,)):
            return name_of(arg)
    return "value"


def split(program: Program, layers: Mapping[str, Layers], shaped: tuple[Input, ...], method: Printed) -> Program:
    """The program with its sums over joint values by the kernels; `method` prints what these call and says its name."""
    sums = JointSums(dict(program.hints), layers, shaped, method)
    found = program.rewritten(sums.rule)
    return Program(found.outputs, {**sums.hints, **found.hints}, found.spans)


def layers_of(net: Net) -> Layers:
    """As their settings say; a step of a recurrent one has about six times its width."""
    found = sum(n for stage in net.trunk for n in flat((stage.args, stage.kwargs)) if isinstance(n, int) and n > 1)
    recurrent = any(stage.layer in ("lstm", "gru", "transformer") for stage in net.trunk)
    dropout = any(stage.layer == "dropout" or bind(stage).get("dropout") for stage in net.trunk)
    own = any(stage.layer == "python" for stage in net.trunk)  # which may do whatever it likes
    return Layers(found * (6 if recurrent else 1), dropout or own or net.random)


def flat(value: object) -> list[object]:
    return [inner for item in value for inner in flat(item)] if isinstance(value, tuple) else [value]
