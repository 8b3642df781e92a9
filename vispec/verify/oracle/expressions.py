"""The value of a checked expression at one element of every open plate, term by term as the language defines it."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor, nn

from vispec.model import model as m
from vispec.model.model import Model
from vispec.model.types import MISSING, WHOLE_DOMAINS
from vispec.model.walk import prefix_of
from vispec.named import get
from vispec.torch.nets.uses import uses
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.nets import arguments, link, raw_heads, raw_heads_after, softplus
from vispec.verify.oracle.row import Cell, Place, Row, measure

Value = float | int | tuple[float | int, ...]


class Scene:
    """What an expression is read against: a row, values for cells that the row does not know, parameters and nets.

    `reads` collects the assigned cells that were looked at, in order, so that a caller can tell on what a value depends."""

    def __init__(self, model: Model, module: nn.Module, row: Row):
        self.model, self.module, self.row = model, module, row
        self.assignment: Mapping[Cell, Tensor] = {}
        self.reads: dict[Cell, None] = {}
        self.integrated: frozenset[Cell] = frozenset()
        self.parameters: dict[str, Tensor] = {}
        self.calls: dict[object, tuple[Tensor, ...]] = {}
        self.known: dict[str, bool] = {}  # variables that are being read as the data has them: whether they are there

    @contextmanager
    def as_data(self, name: str, seen: bool) -> Iterator[None]:
        """Inside it, the variable is what the data has, or (`seen`) whether the data has it."""
        self.known[name] = seen
        try:
            yield
        finally:
            del self.known[name]

    def parameter(self, name: str) -> Tensor:
        """A param in constrained space, differentiable in the module's own parameters."""
        if name not in self.parameters:
            self.parameters[name] = get(self.module, name)
        return self.parameters[name]

    def variable(self, cell: Cell) -> Tensor:
        if cell in self.assignment:
            self.reads[cell] = None
            return self.assignment[cell]
        if cell in self.integrated:
            raise NotCheckedError(f"`{cell[0]}` is missing, has infinitely many values, and something depends on it")
        if cell not in self.row.values:
            raise NotCheckedError(f"no value for `{cell[0]}` at {cell[1]}")
        return self.row.values[cell]


def element(name: str, at: Place, scene: Scene) -> Tensor:
    """The variable, param, let or size `name` at this element of its plates."""
    model = scene.model
    if name in model.let:
        return evaluate(model.let[name].value, at, scene)
    for let in model.guide_lets:
        if let.name == name:
            return evaluate(let.value, at, scene)
    if name in model.param:
        return scene.parameter(name)[tuple(at[plate] for plate in model.param[name].plates)]
    if name in model.variable:
        variable = model.variable[name]
        return known(name, at, scene.known[name], scene) if name in scene.known else own(variable, at, scene)
    return torch.tensor(scene.row.sizes[name])


def evaluate(expression: m.Expression, at: Place, scene: Scene) -> Tensor:
    """The value, of the expression's event shape; a starred one has a leading axis with its elements."""
    match expression:
        case m.Apply():
            return apply(expression, [evaluate(argument, at, scene) for argument in expression.args], scene)
        case m.Ref(name=name):
            return element(name, at, scene)
        case m.Const(value=value):
            return constant(value)
        case m.All(name=name, plate=plate):
            return sequence(name, plate, scene.row.count(plate, at), at, scene)
        case m.Base(draw=draw, low=low, high=high):
            value = evaluate(draw, at, scene).double()
            above = value if low is None else value - evaluate(low, at, scene).double()
            return above.log() if high is None else above.log() - (evaluate(high, at, scene).double() - value).log()
        case m.Evidence(read=read, seen=seen):
            with scene.as_data(read.name, seen):
                return evaluate(read, at, scene)
        case m.Prefix(name=name, plate=plate):
            return sequence(name, plate, at[plate], at, scene)
        case m.Past(name=name, plate=plate, lag=lag):
            return element(name, {**at, plate: at[plate] - lag}, scene)
        case m.Recursion(along=plate, steps=steps):
            return evaluate(steps[min(at[plate], len(steps) - 1)], at, scene)
        case m.Select(name=name, by=by, type=type_) if type_.star:
            places = [
                {**at, plate: integer(each)} for plate, index in by if index.type.star for each in evaluate(index, at, scene)
            ]
            fixed = {plate: pointed_at(index, at, scene) for plate, index in by if not index.type.star}
            items = [element(name, {**place, **fixed}, scene) for place in places]
            return torch.stack(items) if items else nothing_of(name, scene)
        case m.Select(name=name, by=by):
            chosen = {plate: pointed_at(index, at, scene) for plate, index in by}
            return at_root(name, scene) if -1 in chosen.values() else element(name, {**at, **chosen}, scene)
        case m.Element(base=base, at=index):
            return entry(base, integer(evaluate(index, at, scene)), at, scene)
        case m.Position(plate=plate):
            return torch.tensor(at[plate])
        case m.Length(plate=plate):
            return torch.tensor(scene.row.count(plate, at))
        case m.SizeOf(name=name):
            return torch.tensor(scene.row.sizes[name])
        case m.Where(sequence=whole, mask=mask):
            return evaluate(whole, at, scene)[evaluate(mask, at, scene) != 0]
        case m.Conditional(test=test, then=then, otherwise=otherwise):
            return evaluate(then if holds(test, at, scene) else otherwise, at, scene)
        case m.For(body=body, plate=plate):
            places = [{**at, plate: index} for index in range(scene.row.count(plate, at))]
            return torch.stack([evaluate(body, place, scene) for place in places])
        case m.Stack(items=items):
            return torch.stack(matched([evaluate(item, at, scene) for item in items]))
        case m.NetCall():
            return link(raw_head(expression, at, scene), expression.type)
    raise NotCheckedError(f"expression {type(expression).__name__}")


@lru_cache(1000, typed=True)
def constant(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)


def own(variable: m.Variable, at: Place, scene: Scene) -> Tensor:
    """The value of a variable at this element of its plates; of a tree, the head of one of its elements or all of them."""
    plates = scene.model.plate
    value = scene.variable((variable.name, tuple(at[plate] for plate in variable.plates if not plates[plate].data)))
    over = variable.type.plate if variable.type.domain in WHOLE_DOMAINS else None
    return value[at[over]] if over is not None and over in at else value


def known(name: str, at: Place, seen: bool, scene: Scene) -> Tensor:
    """A partial variable's element in the data, types.MISSING where it is missing; or whether it is there."""
    variable = scene.model.variable[name]
    cell = (name, tuple(at[plate] for plate in variable.plates if not scene.model.plate[plate].data))
    if seen:
        return torch.tensor(float(cell in scene.row.values), dtype=torch.float64)
    missing = nothing_of(name, scene).new_full(nothing_of(name, scene).shape[1:], MISSING.get(variable.type.domain, 0))
    return scene.row.values.get(cell, missing)


def pointed_at(index: m.Expression, at: Place, scene: Scene) -> int:
    """The element that an index points at, from 0; -1 for the root of a tree."""
    return integer(evaluate(index, at, scene)) - (index.type.domain == "tree")


def at_root(name: str, scene: Scene) -> Tensor:
    """What is read there: one past the values of a token or category, else 0."""
    model = scene.model
    kind = (model.variable.get(name) or model.param.get(name) or model.let[name]).type
    if kind.domain in ("token", "category") and kind.card is not None:
        return torch.full(tuple(measure(dim, scene.row.sizes) for dim in kind.shape), measure(kind.card, scene.row.sizes))
    return torch.zeros(tuple(measure(dim, scene.row.sizes) for dim in kind.shape), dtype=torch.float64)


def sequence(name: str, plate: str, stop: int, at: Place, scene: Scene) -> Tensor:
    """Elements 0 .. stop-1 of `name` along `plate`; (stop, *event)."""
    items = [element(name, {**at, plate: index}, scene) for index in range(stop)]
    return torch.stack(items) if items else nothing_of(name, scene)


def nothing_of(name: str, scene: Scene) -> Tensor:
    """A sequence of no elements, (0, *event)."""
    model = scene.model
    kind = (model.variable.get(name) or model.param.get(name) or model.let[name]).type
    dtype = torch.int64 if kind.domain in ("category", "token", "index", "tree") else torch.float64
    return torch.empty((0, *(measure(dim, scene.row.sizes) for dim in kind.shape)), dtype=dtype)


def entry(base: m.Expression, index: int, at: Place, scene: Scene) -> Tensor:
    """base[index] along the first event dimension; in a range low..high the index is offset and held at the ends."""
    tensor = evaluate(base, at, scene)
    if base.type.low is not None and base.type.high is not None:
        return tensor[min(max(index, base.type.low), base.type.high) - base.type.low]
    if not 0 <= index < len(tensor):
        raise NotCheckedError(f"index {index} lies outside an axis of {len(tensor)}")
    return tensor[index]


def integer(value: Tensor) -> int:
    number = value.item()
    if number != int(number):
        raise NotCheckedError(f"{number} used as an index")
    return int(number)


def holds(test: m.Expression, at: Place, scene: Scene) -> bool:
    """A condition's truth; only the branch taken is evaluated, so the other may be undefined."""
    value = evaluate(test, at, scene)
    if value.ndim:
        raise NotCheckedError("a condition with an event shape")
    return bool(value != 0)


def matched(tensors: list[Tensor]) -> list[Tensor]:
    """The tensors in one dtype, float64 unless all are integers."""
    whole = all(tensor.dtype == torch.int64 for tensor in tensors)
    return tensors if whole else [tensor.double() for tensor in tensors]


def raw_head(call: m.NetCall, at: Place, scene: Scene) -> Tensor:
    """One head of a net before its link function, (*event). The same input is asked once per scene.

    A head that is a sequence, read as one element, is the element at the present place in its plate."""
    net = scene.model.net[call.net]
    values = arguments(net, [evaluate(argument, at, scene) for argument in call.args])
    positions = {at[prefix.plate] for argument in call.args if (prefix := prefix_of(argument))}
    known = not any(value.requires_grad for value in values)
    key = (net.name, *positions, *((tuple(value.shape), tuple(value.flatten().tolist())) for value in values))
    heads = scene.calls.get(key) if known else None
    if heads is None:
        heads = ask(call, net, values, positions, at, scene)
    if known:
        scene.calls[key] = heads
    head = heads[[name for name, _ in net.heads].index(call.head)]
    plate = call.type.over
    if plate is None or call.type.star or not dict(net.heads)[call.head].star:
        return head
    return head[at[plate]]


def ask(call: m.NetCall, net: m.Net, values: list[Tensor], positions: set[int], at: Place, scene: Scene) -> tuple[Tensor, ...]:
    """Run the net; an argument that is a prefix goes in as the whole sequence with its future blotted out."""
    if not positions:
        return raw_heads(scene.module, net, values)
    if len(positions) > 1:
        raise NotCheckedError(f"net `{net.name}` reads prefixes of two plates")
    wholes = {i: scene.row.count(prefix.plate, at) for i, a in enumerate(call.args) if (prefix := prefix_of(a))}
    stepped = uses(net, scene.model).stepped  # they come with an axis of prefixes
    values = [v[None] if name in stepped else v for v, (name, _) in zip(values, net.args, strict=True)]
    return raw_heads_after(scene.module, net, values, wholes, *positions)


# ---- functions


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": lambda a, b: a.double() / b.double(),
    "^": lambda a, b: a.double() ** b.double(),
    "neg": torch.neg,
    "<": lambda a, b: (a < b).double(),
    "<=": lambda a, b: (a <= b).double(),
    ">": lambda a, b: (a > b).double(),
    ">=": lambda a, b: (a >= b).double(),
    "==": lambda a, b: (a == b).double(),
    "!=": lambda a, b: (a != b).double(),
    "and": lambda a, b: ((a != 0) & (b != 0)).double(),
    "or": lambda a, b: ((a != 0) | (b != 0)).double(),
    "not": lambda a: (a == 0).double(),
    "exp": lambda a: a.double().exp(),
    "log": lambda a: a.double().log(),
    "sqrt": lambda a: a.double().sqrt(),
    "abs": torch.abs,
    "sigmoid": lambda a: a.double().sigmoid(),
    "tanh": lambda a: a.double().tanh(),
    "softplus": lambda a: softplus(a.double()),
    "relu": lambda a: a.double().clamp(min=0),
    "sign": torch.sign,
    "floor": lambda a: a.double().floor(),
    "round": lambda a: a.double().round(),
    "sin": lambda a: a.double().sin(),
    "cos": lambda a: a.double().cos(),
    "erf": lambda a: a.double().erf(),
    "Phi": lambda a: torch.erfc(-a.double() / math.sqrt(2)) / 2,
    "lgamma": lambda a: a.double().lgamma(),
    **dict.fromkeys(("unit", "positive", "count", "simplex"), lambda a: a),
}

REDUCTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "sum": lambda a, dim: a.sum(dim),
    "mean": lambda a, dim: a.double().sum(dim) / max(a.shape[dim], 1),
    "max": lambda a, dim: a.amax(dim) if a.shape[dim] else beyond(a, dim, -math.inf),
    "min": lambda a, dim: a.amin(dim) if a.shape[dim] else beyond(a, dim, math.inf),
}


def beyond(nothing: Tensor, dim: int, value: float) -> Tensor:
    """The maximum or minimum of no elements: less, or more, than any."""
    return nothing.double().sum(dim).fill_(value)


def intervals(place: Tensor, cuts: Tensor) -> Tensor:
    """P(cut[k-1] < place + noise < cut[k]) of logistic noise: differences of its distribution function."""
    below = (cuts - place).sigmoid()
    return torch.diff(torch.cat([torch.zeros(1), below, torch.ones(1)]).double())


def apply(expression: m.Apply, args: list[Tensor], scene: Scene) -> Tensor:
    name = expression.function
    if name in ELEMENTWISE:
        return ELEMENTWISE[name](*args)
    if name in REDUCTIONS and len(args) == 1:
        return REDUCTIONS[name](args[0], 0 if expression.args[0].type.star else -1)
    if name in ("max", "min") and len(args) == 2:
        return (torch.maximum if name == "max" else torch.minimum)(*matched(args))
    if name == "softmax":
        return args[0].double().softmax(-1)
    if name == "dot":
        left, right = matched(args)
        return left @ right
    if name == "ordinal":
        return intervals(args[0].double(), args[1].double())
    if name == "concat":
        return torch.cat([part.reshape(-1) for part in matched(args)])
    if name == "one_hot":
        index, classes = integer(args[0]), measure(expression.type.shape[0], scene.row.sizes)
        return torch.eye(classes, dtype=torch.float64)[index]
    raise NotCheckedError(f"function {name}")
