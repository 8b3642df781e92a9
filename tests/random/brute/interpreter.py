"""The value of a checked expression at one element of every plate around it, number by number.

An environment gives values to elements: (name, place in each plate of the row) -> value. Vectors are lists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tests.random.brute import scalars as s
from tests.random.brute.scalars import Number, UndefinedError, value_of
from vispec.model import model as m
from vispec.model.types import INTEGER_DOMAINS, Type

Value = Any  # a Number, or a list of Values
Cell = tuple[str, tuple[int, ...]]
Place = Mapping[str, int]


@dataclass
class World:
    """One row: lengths[(plate, elements of the plates around)] of ragged plates, data of known cells, the unknown ones' values.

    parameters: nested lists of scalars. read: the unknown cells that were looked at since it was emptied."""

    model: m.Model
    sizes: Mapping[str, int]
    nets: Mapping[str, nn.Module]
    parameters: Mapping[str, Value]
    lengths: Mapping[tuple[str, tuple[int, ...]], int]
    data: Mapping[Cell, Value]
    unknown: dict[Cell, Value] = field(default_factory=dict)
    read: set[Cell] = field(default_factory=set)
    calls: dict[object, Any] = field(default_factory=dict)  # what nets said of inputs that are data

    def size(self, dim: int | str) -> int:
        return s.measured(dim, self.sizes)

    def count(self, plate: str, at: Place) -> int:
        declared = self.model.plate[plate]
        if declared.size is not None:
            return self.size(declared.size)
        return self.lengths[plate, tuple(at[p] for p in self.rowless(declared.inside))]

    def rowless(self, plates: tuple[str, ...]) -> tuple[str, ...]:
        """The plates but the data's."""
        return tuple(plate for plate in plates if not self.model.plate[plate].data)

    def places(self, plates: tuple[str, ...]) -> list[dict[str, int]]:
        found: list[dict[str, int]] = [{}]
        for plate in self.rowless(plates):
            found = [{**at, plate: i} for at in found for i in range(self.count(plate, at))]
        return found

    def cell(self, name: str, at: Place) -> Cell:
        return name, tuple(at[plate] for plate in self.rowless(self.model.variable[name].plates))

    def variable(self, name: str, at: Place) -> Value:
        cell = self.cell(name, at)
        if cell in self.data:
            return self.data[cell]
        self.read.add(cell)
        if cell not in self.unknown:
            raise UndefinedError(f"no value of {cell}")
        return self.unknown[cell]

    def element(self, name: str, at: Place) -> Value:
        """A variable, parameter or let at its own element."""
        if name in self.model.variable:
            return self.variable(name, at)
        if name in self.model.param:
            value = self.parameters[name]
            for plate in self.model.param[name].plates:
                value = value[at[plate]]
            return value
        return evaluate(self.model.let[name].value, at, self)


def evaluate(e: m.Expression, at: Place, world: World) -> Value:
    """A number, a list for an event shape, and a list of those for a sequence."""
    match e:
        case m.Const(value=value):
            return value
        case m.Ref(name=name):
            return world.element(name, at)
        case m.All(name=name, plate=plate):
            return [world.element(name, {**at, plate: i}) for i in range(world.count(plate, at))]
        case m.Prefix(name=name, plate=plate):
            return [world.element(name, {**at, plate: i}) for i in range(at[plate])]
        case m.Past(name=name, plate=plate, lag=lag):
            if at[plate] < lag:
                raise UndefinedError(f"{name} before the first element")
            return world.element(name, {**at, plate: at[plate] - lag})
        case m.Select(name=name, by=by):
            return selected(name, {plate: whole(evaluate(index, at, world)) for plate, index in by}, at, world)
        case m.Element(base=base, at=index):
            return entry(base, whole(evaluate(index, at, world)), at, world)
        case m.Position(plate=plate):
            return at[plate]
        case m.Length(plate=plate):
            return world.count(plate, at)
        case m.SizeOf(name=name):
            return world.sizes[name]
        case m.Where(sequence=sequence, mask=mask):
            pairs = zip(evaluate(sequence, at, world), evaluate(mask, at, world), strict=True)
            return [value for value, keep in pairs if keep]
        case m.Conditional(test=test, then=then, otherwise=otherwise):
            return evaluate(then if truth(test, at, world) else otherwise, at, world)
        case m.For(body=body, plate=plate):
            return [evaluate(body, {**at, plate: i}, world) for i in range(world.count(plate, at))]
        case m.Stack(items=items):
            return [evaluate(item, at, world) for item in items]
        case m.NetCall():
            return linked(heads(e, at, world), e.type)
        case m.Apply():
            return applied(e, [evaluate(argument, at, world) for argument in e.args], world)
    raise UndefinedError(f"expression {type(e).__name__}")


def whole(value: Number) -> int:
    number = value_of(value)
    if number != int(number):
        raise UndefinedError(f"{number} as an index")
    return int(number)


def truth(test: m.Expression, at: Place, world: World) -> bool:
    return value_of(evaluate(test, at, world)) != 0


def selected(name: str, chosen: Mapping[str, int], at: Place, world: World) -> Value:
    there = {**at, **chosen}
    for plate, index in chosen.items():
        if not 0 <= index < world.count(plate, there):
            raise UndefinedError(f"{name} has no element {index} along {plate}")
    return world.element(name, there)


def entry(base: m.Expression, index: int, at: Place, world: World) -> Value:
    """An entry of a vector; of a range, by its own numbers, the ends standing for all beyond."""
    values, low, high = evaluate(base, at, world), base.type.low, base.type.high
    if low is not None and high is not None:
        return values[min(max(index, low), high) - low]
    if not 0 <= index < len(values):
        raise UndefinedError(f"no entry {index} of {len(values)}")
    return values[index]


# ---- functions

ARITHMETIC: Mapping[str, Callable[..., Number]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": s.divide,
    "^": lambda a, b: a**b,
    "neg": lambda a: -a,
    "<": lambda a, b: float(value_of(a) < value_of(b)),
    "<=": lambda a, b: float(value_of(a) <= value_of(b)),
    ">": lambda a, b: float(value_of(a) > value_of(b)),
    ">=": lambda a, b: float(value_of(a) >= value_of(b)),
    "==": lambda a, b: float(value_of(a) == value_of(b)),
    "!=": lambda a, b: float(value_of(a) != value_of(b)),
    "and": lambda a, b: float(value_of(a) != 0 and value_of(b) != 0),
    "or": lambda a, b: float(value_of(a) != 0 or value_of(b) != 0),
    "not": lambda a: float(value_of(a) == 0),
    "exp": s.exp,
    "log": s.log,
    "sqrt": s.sqrt,
    "abs": s.absolute,
    "relu": s.relu,
    "sigmoid": s.sigmoid,
    "tanh": s.tanh,
    "softplus": s.softplus,
}


def applied(e: m.Apply, args: list[Value], world: World) -> Value:
    name = e.function
    if name in ARITHMETIC:
        return s.broadcast(ARITHMETIC[name], *args)
    if name in ("max", "min") and len(args) == 2:
        smallest = lambda a, b: -s.largest(-a, -b)  # noqa: E731
        return s.broadcast(s.largest if name == "max" else smallest, *args)
    if name in ("sum", "mean", "max", "min"):
        return reduced(name, args[0], inner=not e.args[0].type.star)
    if name == "softmax":
        return [s.exp(x) for x in s.log_softmax(args[0])]
    if name == "dot":
        return dot(*args)
    if name == "ordinal":
        below = [0.0, *(s.sigmoid(cut - args[0]) for cut in args[1]), 1.0]
        return [high - low for low, high in pairwise(below)]
    if name == "concat":
        return [x for part in args for x in (part if isinstance(part, list) else [part])]
    if name == "one_hot":
        return [float(i == args[0]) for i in range(world.size(e.type.shape[0]))]
    raise UndefinedError(f"function {name}")


def reduced(name: str, values: list[Value], inner: bool) -> Value:
    """A sequence to one element; a vector, or each row of a matrix, to a number."""
    if inner and values and isinstance(values[0], list):
        return [reduced(name, row, inner) for row in values]
    if not values and name != "sum":
        raise UndefinedError(f"{name} of nothing")
    result: Value = values[0] if values else 0.0
    for value in values[1:]:
        step = {"max": s.largest, "min": lambda a, b: -s.largest(-a, -b)}.get(name, lambda a, b: a + b)
        result = s.broadcast(step, result, value)
    return s.broadcast(lambda x: x / len(values), result) if name == "mean" else result


def dot(a: Value, b: Value) -> Value:
    """Of two vectors; a vector on the left meets the rows of a matrix, on the right its columns."""
    if isinstance(a[0], list):
        return [dot(row, b) for row in a]
    if isinstance(b[0], list):
        return [dot(a, [row[j] for row in b]) for j in range(len(b[0]))]
    return s.total([x * y for x, y in zip(a, b, strict=True)])


# ---- nets: a black box asked about one input


def heads(e: m.NetCall, at: Place, world: World) -> Value:
    """The raw head that a call reads, as a list or a number; of a starred head, this element's own unless all is asked for."""
    net = world.model.net[e.net]
    values = [evaluate(argument, at, world) for argument in e.args]
    tensors = [tensor_of(value, type, world) for value, (_, type) in zip(values, net.args, strict=True)]
    known = not any(tensor.requires_grad for tensor in tensors)
    key = (e.net, e.head, *((tuple(t.shape), tuple(t.flatten().tolist())) for t in tensors))
    head = world.calls.get(key) if known else None
    if head is None and e.net not in world.nets:
        raise UndefinedError(f"the module has no {e.net}: nothing depends on it")
    if head is None:
        answer = asked(net, tensors, world.nets[e.net])
        position = [name for name, _ in net.heads].index(e.head)
        head = listed(answer[position] if isinstance(answer, tuple) else answer)
    if known:
        world.calls[key] = head
    own = dict(net.heads)[e.head].star and not e.type.star and e.type.over is not None
    return head[at[str(e.type.over)]] if own else head


def asked(net: m.Net, tensors: list[Tensor], module: nn.Module) -> Tensor | tuple[Tensor, ...]:
    """Its raw heads; a sequence of no elements goes in as one that its mask hides.

    A net that is called on prefixes alone has no `forward`, and is asked for what comes behind all elements."""
    if module.__class__.forward is nn.Module.forward:
        inputs = zip(tensors, net.args, strict=True)
        longer = [torch.cat((t, t.new_zeros((1, *t.shape[1:])))) if kind.star else t for t, (_, kind) in inputs]
        answer = module.prefixes(*longer)  # pyright: ignore[reportCallIssue]
        return tuple(head[-1] for head in answer) if isinstance(answer, tuple) else answer[-1]
    masks: dict[str, Tensor] = {}
    for position, (name, type) in enumerate(net.args):
        if type.star and not len(tensors[position]):
            tensors[position] = tensors[position].new_zeros((1, *tensors[position].shape[1:]))
            masks[f"{name}_mask"] = torch.zeros(1, dtype=torch.bool)
    return module(*tensors, **masks)


def tensor_of(value: Value, type: Type, world: World) -> Tensor:
    dtype = torch.int64 if type.domain in INTEGER_DOMAINS else torch.float64
    if isinstance(value, list):
        empty = torch.zeros((0, *(world.size(dim) for dim in type.shape)), dtype=dtype)
        return torch.stack([tensor_of(item, type, world) for item in value]) if value else empty
    return value.to(dtype) if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype)


def listed(tensor: Tensor) -> Value:
    return [listed(part) for part in tensor.unbind(0)] if tensor.ndim else tensor


def linked(raw: Value, type: Type) -> Value:
    """From a raw head to the domain of its type."""
    match type.domain:
        case "real":
            return raw
        case "positive":
            return s.broadcast(s.softplus, raw)
        case "unit":
            return s.broadcast(s.sigmoid, raw)
        case "simplex":
            return [s.exp(x) for x in s.log_softmax(raw)]
        case "ordered":
            return ordered(raw)
    raise UndefinedError(f"a head of type {type}")


def ordered(raw: list[Number]) -> list[Number]:
    found = [raw[0]]
    for gap in raw[1:]:
        found.append(found[-1] + s.softplus(gap))
    return found
