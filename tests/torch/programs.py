"""Random programs for the printer, with their inputs in float64."""

import random
from typing import Any

import torch
from torch import Tensor

from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.interpreter.interpret import World
from vispec.program.node import Density, Input, Node, Position
from vispec.program.program import Program
from vispec.program.size import Size

SIZES = {"A": 2, "B": 3, "C": 4, "E": 3}
RAGGED = 3
POOL = """x y z total value log_prob self batch torch nn F Tensor lambda class for one loss posterior index columns cells where
sum len int max range training forward train eval type half __name _ __init__ K A B tilt query other rows table True None
log_sum_exp pick_last steps_back normal_log_prob parameters state_dict device dtype shape T x_len at_a inside_r import"""


class Grown:
    """A program grown at random. safe: without what is singular, so that gradients are finite."""

    def __init__(self, seed: int, names: list[str] | None = None):
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        pool = names or [f"x{n}" for n in range(40)]
        self.names = iter(self.random.sample(pool, len(pool)))
        self.plates = [Axis(name.lower(), "plate", Size.of(name)) for name in "ABC"]
        self.event = Axis("E", "event", Size.of("E"))
        self.given, self.parameters = dict[str, Tensor](), dict[str, Tensor]()
        self.lengths = self.input((self.plates[0],), "int", "batch", torch.tensor([1, 3]))
        self.ragged = Axis("r", "plate", None, self.lengths)
        self.values = copy(self.plates[1], "c", "values")
        self.axes = [*self.plates, self.event, self.ragged, self.values]
        self.extents = dict(zip(self.axes, (2, 3, 4, 3, RAGGED, 3), strict=True))
        self.nodes: list[Node] = []
        for n in range(7):
            order = tuple(self.random.sample(self.axes, self.random.randint(0, 3)))
            if self.ragged in order and self.plates[0] not in order:
                order = (self.plates[0], *order)
            if n == 0:
                order = (self.plates[0], self.ragged)
            kind = "real" if n < 5 else "bool"
            drawn = torch.randn([self.extents[a] for a in order], generator=self.generator, dtype=torch.float64)
            source = "parameter" if n % 2 else "batch"
            self.nodes.append(self.input(order, kind, "batch" if kind == "bool" else source, drawn if n < 5 else drawn > 0))
        for axis in (self.plates[1], self.event):
            order = (*self.random.sample(self.plates[::2], self.random.randint(0, 2)),)
            drawn = torch.randint(self.extents[axis], [self.extents[a] for a in order], generator=self.generator)
            self.nodes.append(self.input(order, "int", "batch", drawn))
        self.nodes += [build.node(value) for value in (0, 1, 2, 0.5, True, -1.5)]
        self.nodes += [Position(self.plates[0]), Position(self.ragged), build.number(Size.of("B"))]
        self.start = len(self.nodes)

    def input(self, order: tuple[Axis, ...], kind: Any, source: str, value: Tensor) -> Node:
        name = next(self.names)
        (self.given if source == "batch" else self.parameters)[name] = value
        return Input(name, order, kind, source)

    def take(self, *kinds: str, axis: Axis | None = None) -> Node:
        found = [n for n in self.nodes if (not kinds or n.dtype in kinds) and (axis is None or axis in n.axes)]
        late = found[-4:] if self.random.random() < 0.5 else found
        return self.random.choice(late)

    def axis_of(self, node: Node, among: list[Axis] | None = None) -> Axis | None:
        found = sorted(node.axes & {*(among or self.axes)}, key=lambda axis: axis.serial)
        return self.random.choice(found) if found else None

    def grow(self, steps: int) -> None:
        kinds = (
            [self.map] * 8
            + [self.reduce] * 4
            + [self.pick] * 3
            + [self.shift, self.link, self.scan, self.concat, self.density, self.contract, self.where, self.where, self.rename]
        )
        while steps:
            node = self.random.choice(kinds)()
            if node is not None and len(node.axes) <= 4:
                self.nodes.append(node)
                steps -= 1

    def map(self) -> Node:
        one = ["neg", "exp", "sigmoid", "log_sigmoid", "tanh", "square", "softplus", "abs", "sin", "erf", "floor"]
        one += ["expm1", "sign"]
        two = ["add", "add", "mul", "mul", "sub", "sub", "div", "min", "max", "eq", "lt", "le"]
        op = self.random.choice([*one, *two, "and", "or", "not", "real", "int", "add"])
        kinds = ("bool",) if op in ("and", "or", "not") else ()
        if op == "add" and self.random.random() < 0.3:
            return build.add(self.take(), self.take(), build.neg(self.take()))
        if op in ("min", "max"):
            return build.apply(op, self.take("real"), self.take("real", "int"))
        if op in ("int", "floor", "sign"):
            return (
                build.apply(op, build.mul(self.take("real"), 0.3)) if op != "int" else build.apply(op, self.take("bool", "int"))
            )
        args = [self.take(*kinds) for _ in range(1 if op in one or op in ("not", "real") else 2)]
        if op in ("exp", "expm1"):
            args = [build.apply("tanh", args[0])]
        if op == "div":
            args[1] = build.add(build.apply("square", args[1]), 1)
        return build.apply(op, *args)

    def where(self) -> Node:
        return build.where(self.take("bool"), self.take("real", "int"), self.take("real"))

    def reduce(self) -> Node | None:
        node = self.take("real", "bool", "int")
        axis = self.axis_of(node)
        if axis is None or (axis is self.ragged and self.plates[0] not in node.axes):
            return None
        over = {axis}
        if self.random.random() < 0.3 and (more := self.axis_of(node)) is not None:
            over.add(more)
        if self.ragged in node.axes and self.plates[0] in over:
            over.add(self.ragged)
        if self.ragged in over and self.plates[0] not in node.axes:
            return None
        op = self.random.choice(["sum", "max", "min", "log_sum_exp", "log_sum_exp"])
        if node.dtype == "bool":
            op = self.random.choice(["all", "any"])
        elif node.dtype == "int":
            op = self.random.choice(["sum", "max"])
        return build.reduce(op, node, over)

    def pick(self) -> Node | None:
        node = self.take()
        wanted = [axis for axis in (self.plates[1], self.event, self.values) if axis in node.axes]
        if not wanted:
            return None
        at = {}
        for axis in self.random.sample(wanted, self.random.randint(1, len(wanted))):
            index = self.random.choice([build.node(1), self.take("int"), Position(self.plates[0]), Position(self.values)])
            at[axis] = build.apply("min", build.apply("max", index, 0), 2) if index.dtype == "int" else index
            if isinstance(index, Position) and axis is not self.values:
                at[axis] = index
        return build.pick(node, at)

    def shift(self) -> Node | None:
        node = self.take("real")
        axis = self.axis_of(node, self.plates)
        fill = self.random.choice([build.node(0.5), self.take("real")])
        return build.shift(node, axis, self.random.choice([1, 2]), fill) if axis and axis not in fill.axes else None

    def link(self) -> Node | None:
        node = self.take("real")
        axis = self.axis_of(node, [self.event, self.plates[2], self.values])
        return build.link(self.random.choice(["softmax", "log_softmax"]), node, (axis,)) if axis else None

    def scan(self) -> Node | None:
        node = self.take("real")
        axis = self.axis_of(node, self.plates)
        if axis is None:
            return None
        op = self.random.choice(["sum", "max"])
        return build.scan(op, node, axis, 0.0 if op == "sum" else -3.5)

    def concat(self) -> Node | None:
        node, other = self.take("real"), self.take("real", "int")
        axis = self.axis_of(node, self.plates[1:])
        if axis is None or axis in other.axes:
            return None
        whole = Axis("w", "plate", Size.of("W") if axis is self.plates[1] else Size.of("U"))
        return build.reduce("sum", build.mul(build.concat([(node, axis), (other, None)], whole), Position(whole)), (whole,))

    def density(self) -> Node | None:
        value, loc = self.take("real"), self.take("real")
        scale = build.add(build.apply("softplus", self.take("real")), 0.5)
        if self.random.random() < 0.5:
            return Density("Normal", value, (("loc", loc, ()), ("scale", scale, ())), ())
        return Density("Laplace", value, (("loc", loc, ()), ("scale", scale, ())), ())

    def contract(self) -> Node | None:
        left, right = self.take("real"), self.take("real")
        axes = sorted((left.axes & right.axes) - {self.ragged}, key=lambda axis: axis.serial)
        return build.contract([left, right], axes[:1]) if axes and self.ragged not in left.axes | right.axes else None

    def rename(self) -> Node | None:
        node = self.take("real")
        if self.plates[1] in node.axes and self.values not in node.axes:
            return build.rename(node, {self.plates[1]: self.values})
        return None

    def world(self) -> World:
        sizes = {**SIZES, "W": 4, "U": 5}
        parameters = {name: value.clone().requires_grad_() for name, value in self.parameters.items()}
        world = World({**self.given, **parameters}, sizes)
        world.extents[self.ragged] = RAGGED
        return world

    def program(self, outputs: int = 2) -> Program:
        """The last nodes that are real numbers, made numbers of ordinary size."""
        grown = [node for node in self.nodes[self.start :] if node.dtype == "real"][-outputs:] or [build.node(1.0)]
        hints = {node: next(self.names) for node in self.nodes[self.start :: 3]}
        return Program({f"out{n}": build.apply("tanh", node) for n, node in enumerate(grown)}, hints)
