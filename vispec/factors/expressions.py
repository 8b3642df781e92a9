"""Resolved expressions as nodes. A bare name is its element along the axes of its plates; axes meet by identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from vispec.factors.frame import Frame
from vispec.factors.functions import BY_ELEMENT, FUNCTIONS
from vispec.factors.nets import call, hint_of
from vispec.factors.states import state
from vispec.model import model as m
from vispec.model.types import MISSING, Dim, Type
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Node


@dataclass(frozen=True)
class Sequence:
    """Elements along an axis; `chosen` where only some count. before: the prefix that ends at each element of the axis."""

    node: Node
    axis: Axis
    chosen: Node | None = None
    before: bool = False


def expression(f: Frame, e: m.Expression) -> Node:
    """The value of an expression without a star, over the axes that it varies along and those of its event shape."""
    key = (type(e), e)
    if key not in f.known:
        found = f.known[key] = COMPILERS[type(e)](f, e)
        f.spans.setdefault(found, (e.span.start, e.span.end))
    return f.known[key]


def sequence(f: Frame, e: m.Expression) -> Sequence:
    """The value of a starred expression."""
    match e:
        case m.All(name=name, plate=plate):
            return Sequence(named(f, name), f.plate(plate))
        case m.Prefix(name=name, plate=plate):
            return Sequence(named(f, name), f.plate(plate), before=True)
        case m.Evidence(read=m.All(plate=plate)):
            return Sequence(evidence(f, e), f.plate(plate))
        case m.Evidence(read=m.Prefix(plate=plate)):
            return Sequence(evidence(f, e), f.plate(plate), before=True)
        case m.Where(sequence=inner, mask=mask):
            found = sequence(f, inner)
            chosen = sequence(f, mask).node if mask.type.star else expression(f, mask)
            chosen = build.apply("bool", chosen)
            return Sequence(found.node, found.axis, chosen if found.chosen is None else build.both(found.chosen, chosen))
        case m.Select(by=by, type=type_) if type_.star:
            of = next(sequence(f, index) for _, index in by if index.type.star)
            at = {plate: of.node if index.type.star else expression(f, index) for plate, index in by}
            return replace(of, node=picked(f, e, at))
        case m.Ref(name=name, type=type_) if type_.over is not None:
            return Sequence(named(f, name), f.plate(type_.over))
        case m.NetCall(type=type_) if type_.over is not None:
            return Sequence(call(f, e, expression, sequence), f.plate(type_.over))
    raise TypeError(f"{type(e).__name__} is no sequence")


def named(f: Frame, name: str) -> Node:
    """A variable, param or let at its own element."""
    model = f.model
    if name in model.variable:
        variable = model.variable[name]
        data = variable.role == "given" or (variable.role == "observed" and not f.generated)
        return f.data(variable) if data else f.site(variable)
    if name in model.param:
        return f.parameter(model.param[name])
    let = next(let for let in (*model.lets, *model.guide_lets) if let.name == name)
    node = expression(f, let.value)
    if isinstance(let.value, m.NetCall) and f.hints.get(node) == hint_of(let.value):
        f.hints[node] = name
    return f.named(node, name)


def type_of(f: Frame, name: str) -> Type:
    model = f.model
    found = model.variable.get(name) or model.param.get(name)
    return found.type if found else next(let.type for let in (*model.lets, *model.guide_lets) if let.name == name)


def plates_of(f: Frame, name: str) -> tuple[str, ...]:
    model = f.model
    found = model.variable.get(name) or model.param.get(name)
    return found.plates if found else next(let.plates for let in (*model.lets, *model.guide_lets) if let.name == name)


# ---- one function per kind of expression


def _const(f: Frame, e: m.Const) -> Node:
    return Const(e.value)


def _ref(f: Frame, e: m.Ref) -> Node:
    return named(f, e.name)


def _whole(f: Frame, e: m.All) -> Node:
    """A plate of known size as a vector."""
    return vector(f, named(f, e.name), f.plate(e.plate), e.type)


def vector(f: Frame, node: Node, plate: Axis, type_: Type) -> Node:
    """A plate's elements as the first event dimension."""
    shape = f.model.plate[plate.hint].size
    place = len(type_.shape) - (0 if type_.star else 1)
    return build.rename(node, {plate: f.event(f"|{plate.hint}|" if shape is None else shape, place)})


def _past(f: Frame, e: m.Past) -> Node:
    """Of the elements that have none so far back, a number that is not read: `then` gives them a law of their own."""
    return shifted(f, named(f, e.name), e, type_of(f, e.name))


def shifted(f: Frame, node: Node, e: m.Past, type_: Type) -> Node:
    neutral = MISSING.get(type_.domain, 0)
    return build.shift(node, f.plate(e.plate), e.lag, int(neutral) if node.dtype == "int" else float(neutral))


def _state(f: Frame, e: m.Recursion) -> Node:
    return state(f, e, expression)


def _select(f: Frame, e: m.Select) -> Node:
    return picked(f, e, {plate: expression(f, index) for plate, index in e.by})


def picked(f: Frame, e: m.Select, places: Mapping[str, Node]) -> Node:
    """Elements of what it names, at these places of its plates."""
    table, at = named(f, e.name), dict[Axis, Node]()
    for plate, index in e.by:
        axis = f.plate(plate)
        if index.type.domain == "tree" and axis in table.axes:
            table, axis = with_root(f, table, axis, e)
        at[axis] = whole_number(places[plate])
    return build.pick(table, at)


def with_root(f: Frame, table: Node, plate: Axis, e: m.Select) -> tuple[Node, Axis]:
    """The elements of a plate as heads point at them, the root before them: one past the values of a label, else 0, as where
    none of them is the root."""
    card = e.type.card if e.type.domain in ("token", "category") else None
    root = Const(0) if card is None or e.below_root else build.number(f.event(card, 0).size)  # type: ignore[arg-type]
    axis = f.heads(plate)
    return build.concat([(root if table.dtype == "int" else build.apply("real", root), None), (table, plate)], axis), axis


def whole_number(node: Node) -> Node:
    return node if node.dtype == "int" else build.apply("int", node)


def _element(f: Frame, e: m.Element) -> Node:
    """One entry along the first event dimension; in a range low..high, held at the ends."""
    base, index = expression(f, e.base), whole_number(expression(f, e.at))
    low, high = e.base.type.low, e.base.type.high
    if low is not None and high is not None:
        index = build.apply("min", build.apply("max", build.sub(index, low), 0), high - low)
    return build.pick(base, {f.shape(e.base.type)[0]: index})


def _position(f: Frame, e: m.Position) -> Node:
    return build.position(f.plate(e.plate))


def _length(f: Frame, e: m.Length) -> Node:
    return build.count(f.plate(e.plate))


def _size(f: Frame, e: m.SizeOf) -> Node:
    size = f.event(e.name, 0).size
    assert size is not None
    return build.number(size)


def _call(f: Frame, e: m.NetCall) -> Node:
    return call(f, e, expression, sequence)


def _evidence(f: Frame, e: m.Evidence) -> Node:
    node = evidence(f, e)
    return shifted(f, node, e.read, e.read.type) if isinstance(e.read, m.Past) else node


def evidence(f: Frame, e: m.Evidence) -> Node:
    """A partial variable's values in the data, or 1 where it has them and 0 elsewhere."""
    variable = f.model.variable[e.read.name]
    return build.apply("real", f.observed(variable)) if e.seen else f.data(variable)


def _base(f: Frame, e: m.Base) -> Node:
    return f.base(f.model.variable[e.draw.name])


def _apply(f: Frame, e: m.Apply) -> Node:
    if e.function in ("sum", "mean", "max", "min") and len(e.args) == 1 and e.args[0].type.star:
        return reduced(e.function, sequence(f, e.args[0]))
    args = [expression(f, argument) for argument in e.args]
    if e.function in BY_ELEMENT and len(args) > 1:
        args = [as_shaped(f, arg, of.type.shape, e.type.shape) for arg, of in zip(args, e.args, strict=True)]
    return FUNCTIONS[e.function](f, e, args)


def as_shaped(f: Frame, node: Node, own: tuple[Dim, ...], wanted: tuple[Dim, ...]) -> Node:
    """A value of one shape where one of the same numbers is meant that is spelt otherwise: 3 for K, which is 3."""
    if len(own) != len(wanted) or own == wanted:
        return node
    return build.rename(node, {a: b for a, b in zip(f.axes(own), f.axes(wanted), strict=True) if a is not b})


EMPTY = {"sum": 0.0, "mean": 0.0, "max": -float("inf"), "min": float("inf")}


def reduced(function: str, of: Sequence) -> Node:
    """Of a whole sequence, or at each element of those before it; of nothing 0, and an infinity for max and min."""
    node, op = of.node, "sum" if function == "mean" else function
    if node.dtype == "bool" or (function == "mean" and node.dtype != "real"):
        node = build.apply("real", node)
    if of.before:
        found = build.scan(op, node, of.axis, EMPTY[function] if node.dtype == "real" else int(EMPTY.get(op, 0)))
        return found if function != "mean" else build.apply("div", found, build.apply("max", build.position(of.axis), 1))
    if of.chosen is not None:
        node = build.where(of.chosen, node, EMPTY[function])
    found = build.reduce(op, node, (of.axis,))
    if function != "mean":
        return found
    number = build.count(of.axis) if of.chosen is None else build.reduce("sum", build.apply("int", of.chosen), (of.axis,))
    return build.apply("div", found, number if isinstance(number, Const) else build.apply("max", number, 1))


def _conditional(f: Frame, e: m.Conditional) -> Node:
    then, otherwise = (as_shaped(f, expression(f, part), part.type.shape, e.type.shape) for part in (e.then, e.otherwise))
    return build.where(expression(f, e.test), then, otherwise)


def _for(f: Frame, e: m.For) -> Node:
    plate = f.plate(e.plate)
    body = build.spread(expression(f, e.body), (plate,))
    place = len(e.body.type.shape)
    return build.rename(body, {plate: f.event(e.type.shape[0], place)})


def _stack(f: Frame, e: m.Stack) -> Node:
    return build.stack([expression(f, item) for item in e.items], f.event(len(e.items), 0))


COMPILERS: dict[type, Callable[..., Node]] = {
    m.Const: _const,
    m.Ref: _ref,
    m.All: _whole,
    m.Past: _past,
    m.Recursion: _state,
    m.Select: _select,
    m.Element: _element,
    m.Position: _position,
    m.Length: _length,
    m.SizeOf: _size,
    m.NetCall: _call,
    m.Evidence: _evidence,
    m.Base: _base,
    m.Apply: _apply,
    m.Conditional: _conditional,
    m.For: _for,
    m.Stack: _stack,
}
