"""The builders: the only way to make nodes. They align by axis, fold what is known, and keep one object for equal nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vispec.program.axis import Axis, as_long, ordered
from vispec.program.node import (
    Concat,
    Const,
    Contract,
    Extent,
    Input,
    Link,
    Map,
    Merge,
    Node,
    Number,
    Pick,
    Position,
    Reduce,
    Rename,
    Scan,
    Shift,
    Spread,
    Stop,
    Tail,
)
from vispec.program.ops import OPS
from vispec.program.size import Size

Value = Node | float | int | bool


# ---- leaves


def node(value: Value) -> Node:
    """A number as a node."""
    return value if isinstance(value, Node) else Const(value)


def number(size: Size) -> Node:
    """A size as a whole number."""
    return Number(size) if size.number is None else Const(size.number)


def position(axis: Axis) -> Node:
    return Position(axis)


def extent(axis: Axis) -> Node:
    """How many elements an axis has, padding included."""
    origin = axis.origin
    return number(origin.size) if origin.size is not None else Extent(origin)


def count(axis: Axis) -> Node:
    """How many elements count along an axis."""
    return extent(axis) if axis.lengths is None else axis.lengths


def inside(axis: Axis) -> Node:
    """Which elements of an axis count."""
    return Const(True) if axis.lengths is None else lt(position(axis), axis.lengths)


# ---- elementwise


def apply(op: str, *values: Value) -> Node:
    """An operation of ops.py, folded where its arguments are constants and by the rules below."""
    args = tuple(map(node, values))
    entry = OPS[op]
    assert entry.arity in (None, len(args)), f"{op} takes {entry.arity} arguments"
    if entry.fold is not None and all(isinstance(arg, Const) for arg in args):
        return Const(entry.fold(*(arg.value for arg in args)))  # type: ignore[attr-defined]
    simpler = RULES[op](*args) if op in RULES else None
    return Map(op, args) if simpler is None else simpler


def is_const(value: Node, number: float | None = None) -> bool:
    """Whether it is a constant, and that one."""
    return isinstance(value, Const) and (number is None or value.value == number)


def _operand(value: Node, op: str) -> Node | None:
    """x where the value is op(x)."""
    return value.operands[0] if isinstance(value, Map) and value.op == op else None


def _flat(op: str, args: Iterable[Node]) -> list[Node]:
    return [inner for arg in args for inner in (arg.operands if isinstance(arg, Map) and arg.op == op else (arg,))]


def _without_spreads(args: list[Node]) -> list[Node]:
    """Constants as numbers where the others have all axes that they are spread along."""
    spread = [arg for arg in args if isinstance(arg, Spread) and isinstance(arg.arg, Const)]
    have = frozenset[Axis]().union(*(arg.axes for arg in args if arg not in spread))
    return [arg.arg if isinstance(arg, Spread) and arg in spread and arg.axes <= have else arg for arg in args]


def _several(op: str, args: tuple[Node, ...], neutral: float) -> Node | None:
    """Arguments of a sum or a product, those of inner ones among them; constants are one, and the neutral one none."""
    flat = _without_spreads(_flat(op, args))
    constants = [arg for arg in flat if isinstance(arg, Const)]
    rest = [arg for arg in flat if not isinstance(arg, Const)]
    if len(constants) > 1 or (constants and constants[0].value == neutral) or len(flat) > len(args):
        total = apply(op, *constants) if constants else Const(int(neutral))
        kept = [*rest, *([] if is_const(total, neutral) else [total])]
        real = any(arg.dtype == "real" for arg in flat)
        if len(kept) == 1 and kept[0].dtype != "bool":
            return kept[0] if not real or kept[0].dtype == "real" else apply("real", kept[0])
        return Map(op, tuple(kept)) if kept else total
    return args[0] if len(args) == 1 and args[0].dtype != "bool" else None


def _add(*args: Node) -> Node | None:
    return _several("add", args, 0)


def _mul(*args: Node) -> Node | None:
    return _several("mul", args, 1)


def _sub(x: Node, y: Node) -> Node | None:
    if is_const(y, 0) and x.dtype != "bool":
        return x
    if is_const(x, 0):
        return neg(y)
    inner = _operand(y, "neg")
    return add(x, inner) if inner is not None else None


def _neg(x: Node) -> Node | None:
    return _operand(x, "neg")


def _div(x: Node, y: Node) -> Node | None:
    return x if is_const(y, 1) and x.dtype == "real" else None


def _pow(x: Node, y: Node) -> Node | None:
    if is_const(y, 1):
        return apply("real", x)
    return apply("real", apply("square", x)) if is_const(y, 2) else None


def _log(x: Node) -> Node | None:
    """Logarithms of what is computed, before it underflows."""
    match x:
        case Map("exp", (inner,)):
            return inner
        case Map("sigmoid", (inner,)):
            return apply("log_sigmoid", inner)
        case Map("sub", (one, inner)) if is_const(one, 1):
            return log_one_minus(inner)
        case Map("real", (inner,)):
            return log(inner)
        case Link("softmax", inner, over):
            return link("log_softmax", inner, over)
        case Map("div", (one, inner)) if is_const(one, 1) and inner.dtype == "int":
            return neg(log(inner))
    return _below(x, log, lambda inner: Map("log", (inner,)))


def log_odds(probability: Value) -> Node:
    """log p − log(1 − p), what a sigmoid is of."""
    found = node(probability)
    if isinstance(found, Map) and found.op == "sigmoid":
        return found.operands[0]
    return sub(log(found), log_one_minus(found))


def log_one_minus(x: Value) -> Node:
    """log(1 - x), accurate where x is computed from its logarithm or its log-odds."""
    x = node(x)
    match x:
        case Map("sigmoid", (inner,)):
            return apply("log_sigmoid", neg(inner))
        case Map("sub", (one, inner)) if is_const(one, 1):
            return log(inner)
        case Map("exp", (inner,)):
            return log(neg(apply("expm1", inner)))
        case Map("real", (inner,)):
            return log_one_minus(inner)
    plain = lambda inner: Map("log1p", (neg(inner),))  # noqa: E731
    return _below(x, log_one_minus, plain) or apply("log1p", neg(x))


def _below(x: Node, function: Any, plain: Any) -> Node | None:
    """A function of what is only moved or chosen, taken before that where it is simpler there; else None."""
    match x:
        case Map("where", (test, *branches)):
            found = [function(each) for each in branches]
            simpler = any(new is not plain(old) for old, new in zip(branches, found, strict=True))
            return where(test, *found) if simpler else None
        case Pick(table, at):
            inner = function(table)
            return None if inner is plain(table) or isinstance(table, Concat) else pick(inner, dict(at))
        case Rename(arg, pairs):
            inner = function(arg)
            return None if inner is plain(arg) else rename(inner, dict(pairs))
        case Spread(arg, over):
            inner = function(arg)
            return None if inner is plain(arg) else spread(inner, over)
        case Shift(arg, axis, lag, fill):
            inner = function(arg)
            return None if inner is plain(arg) else shift(inner, axis, lag, function(fill))
        case Concat(parts, axis):
            found = [function(part) for part, _ in parts]
            simpler = any(new is not plain(old) for (old, _), new in zip(parts, found, strict=True))
            return concat([(new, own) for new, (_, own) in zip(found, parts, strict=True)], axis) if simpler else None
    return None


def _exp(x: Node) -> Node | None:
    inner = _operand(x, "log")
    if inner is not None:
        return inner
    inner = _operand(x, "log_sigmoid")
    if inner is not None:
        return apply("sigmoid", inner)
    return link("softmax", x.arg, x.over) if isinstance(x, Link) and x.op == "log_softmax" else None


def _not(x: Node) -> Node | None:
    return _operand(x, "not")


def _and(*args: Node) -> Node | None:
    return _junction("and", args, True)


def _or(*args: Node) -> Node | None:
    return _junction("or", args, False)


def _junction(op: str, args: tuple[Node, ...], neutral: bool) -> Node | None:
    flat = list(dict.fromkeys(_flat(op, args)))
    if any(isinstance(arg, Const) and bool(arg.value) is not neutral for arg in flat):
        return Const(not neutral)
    kept = [arg for arg in flat if not isinstance(arg, Const)]
    if not kept:
        return Const(neutral)
    if len(kept) == 1:
        return apply("bool", kept[0])
    return Map(op, tuple(kept)) if tuple(kept) != args else None


def _where(test: Node, then: Node, otherwise: Node) -> Node | None:
    if isinstance(test, Const):
        return _as(OPS["where"].dtype((test.dtype, then.dtype, otherwise.dtype)), then if test.value else otherwise)
    if then is otherwise:
        return then
    inner = _operand(test, "not")
    return where(inner, otherwise, then) if inner is not None else None


def _as(dtype: str, value: Node) -> Node:
    return apply(dtype, value)


def _real(x: Node) -> Node | None:
    if x.dtype == "real":
        return x
    if isinstance(x, Concat) and all(isinstance(part, Const) for part, _ in x.parts):
        return concat([(apply("real", part), own) for part, own in x.parts], x.axis)
    inner = _operand(x, "int")
    return inner if inner is not None and inner.dtype == "bool" else None


def _int(x: Node) -> Node | None:
    return x if x.dtype == "int" else None


def _bool(x: Node) -> Node | None:
    if x.dtype == "bool":
        return x
    inner = _operand(x, "real") or _operand(x, "int")
    return inner if inner is not None and inner.dtype == "bool" else None


def _eq(x: Node, y: Node) -> Node | None:
    return Const(True) if x is y and x.dtype != "real" else None


def _square(x: Node) -> Node | None:
    inner = _operand(x, "neg")
    return apply("square", inner) if inner is not None else None


def _extreme(*args: Node) -> Node | None:
    return args[0] if len({*args}) == 1 else None


RULES: dict[str, Any] = {
    "add": _add,
    "mul": _mul,
    "sub": _sub,
    "neg": _neg,
    "div": _div,
    "pow": _pow,
    "log": _log,
    "exp": _exp,
    "not": _not,
    "and": _and,
    "or": _or,
    "where": _where,
    "real": _real,
    "int": _int,
    "bool": _bool,
    "eq": _eq,
    "square": _square,
    "min": _extreme,
    "max": _extreme,
}


def add(*values: Value) -> Node:
    return apply("add", *values) if values else Const(0)


def sub(x: Value, y: Value) -> Node:
    return apply("sub", x, y)


def mul(*values: Value) -> Node:
    return apply("mul", *values) if values else Const(1)


def neg(x: Value) -> Node:
    return apply("neg", x)


def log(x: Value) -> Node:
    return apply("log", x)


def exp(x: Value) -> Node:
    return apply("exp", x)


def lt(x: Value, y: Value) -> Node:
    return apply("lt", x, y)


def eq(x: Value, y: Value) -> Node:
    return apply("eq", x, y)


def both(*values: Value) -> Node:
    return apply("and", *values)


def where(test: Value, then: Value, otherwise: Value) -> Node:
    """The branch that is not taken sends no gradient, whatever its value."""
    return apply("where", apply("bool", test), then, otherwise)


# ---- along axes


def link(op: str, arg: Node, over: tuple[Axis, ...]) -> Node:
    return Link(op, arg, over)


def reduce(op: str, arg: Value, over: Iterable[Axis]) -> Node:
    """sum, log_sum_exp, total, max, min, all, any over axes, along ragged ones over the elements that count.

    What does not differ along an axis is counted there. A ragged axis comes before those that its lengths differ along, and
    what is left has those."""
    arg = node(arg)
    axes = ordered({*over})
    if op == "sum" and isinstance(arg, Spread) and is_const(arg.arg, 0):
        around = (axis.lengths.axes for axis in axes if axis.lengths is not None)
        return spread(arg.arg, arg.axes.union(*around) - {*axes})
    outer = {each for axis in axes if axis.lengths is not None for each in axis.lengths.axes}
    if outer & {*axes}:
        return reduce(op, reduce(op, arg, {*axes} - outer), {*axes} & outer)
    for axis in axes:
        if axis not in arg.axes:
            arg = _constant_along(op, arg, axis)
    axes = tuple(axis for axis in axes if axis in arg.axes)
    if not axes:
        return arg
    if isinstance(arg, Reduce) and arg.op == op and not _ragged({*axes, *arg.over}):
        return Reduce(op, arg.arg, ordered({*axes, *arg.over}))
    needed = {each for axis in axes if axis.lengths is not None for each in axis.lengths.axes}
    return Reduce(op, spread(arg, needed), axes)


def _ragged(axes: Iterable[Axis]) -> bool:
    return any(axis.lengths is not None for axis in axes)


def _constant_along(op: str, arg: Node, axis: Axis) -> Node:
    """The reduction of what is the same along an axis, or that with the axis where nothing simpler is known."""
    if op == "sum":
        number = count(axis)
        if is_const(arg, 0):
            return spread(arg, number.axes)
        return where(eq(number, 0), 0, mul(arg, number)) if axis.lengths is not None else mul(arg, number)
    if op in ("log_sum_exp", "total"):
        return add(arg, log(count(axis))) if op == "log_sum_exp" else spread(arg, (axis,))
    return arg if axis.lengths is None else spread(arg, (axis,))


def scan(op: str, arg: Value, axis: Axis, empty: Value) -> Node:
    """At each element, the reduction of those before it."""
    arg = node(arg)
    if axis not in arg.axes:
        if op == "sum":
            return mul(position(axis), arg)
        arg = spread(arg, (axis,))
    return Scan(op, arg, axis, node(empty))


def spread(arg: Value, over: Iterable[Axis]) -> Node:
    """The same along further axes."""
    arg = node(arg)
    new = ordered({*over} - arg.axes)
    return Spread(arg, new) if new else arg


def rename(arg: Value, pairs: Mapping[Axis, Axis]) -> Node:
    """The same numbers along other axes; no two may become one (that is a pick)."""
    arg = node(arg)
    pairs = {old: new for old, new in pairs.items() if old in arg.axes and old is not new}
    if not pairs:
        return arg
    match arg:
        case Position(axis):
            return Position(pairs[axis])
        case Rename(inner, before):
            back = {new: old for old, new in before}
            whole = {old: pairs.get(new, new) for old, new in before} | {
                old: new for old, new in pairs.items() if old not in back
            }
            return rename(inner, whole)
        case Map(op, operands) if len(operands) == 1:
            return apply(op, rename(operands[0], pairs))
        case Link(op, inner, over) if not {*over} & {*pairs}:
            return link(op, rename(inner, pairs), over)
    return Rename(arg, tuple(sorted(pairs.items(), key=lambda pair: pair[0].serial)))


def pick(table: Value, at: Mapping[Axis, Value]) -> Node:
    """The table's entries at whole numbers along some of its axes.

    At the positions of an axis as long the axis is only called otherwise, unless the table has that one too (its diagonal)."""
    table = node(table)
    at = {axis: node(index) for axis, index in at.items() if axis in table.axes}
    same = {axis for axis, index in at.items() if isinstance(index, Position) and index.axis is axis}
    at = {axis: index for axis, index in at.items() if axis not in same}
    if not at:
        return table
    if isinstance(table, Position):
        return next(iter(at.values()))
    match table:
        case Rename(inner, pairs) if {new for _, new in pairs} & {*at}:
            back = {new: old for old, new in pairs}
            rest = {old: new for old, new in pairs if new not in at}
            picked = pick(inner, {back.get(axis, axis): index for axis, index in at.items()})
            if not rest or not ({*rest} & picked.axes):
                return picked
        case Spread(inner, over) if {*over} & {*at}:
            left = tuple(axis for axis in over if axis not in at)
            picked = pick(inner, at)
            return spread(picked, {*left, *(a for index in at.values() for a in index.axes)})
        case Map(op, operands) if len(operands) == 1 and op in ("real", "int", "neg", "bool", "not"):
            return apply(op, pick(operands[0], at))
    names = {a: index.axis for a, index in at.items() if isinstance(index, Position) and as_long(a, index.axis)}
    new = list(names.values())
    kept = table.axes - {*at}
    others = {a for axis, index in at.items() if axis not in names for a in index.axes}
    plain = {axis: to for axis, to in names.items() if new.count(to) == 1 and to not in kept and to not in others}
    while clash := [axis for axis, to in plain.items() if to in table.axes and to not in plain]:
        del plain[clash[0]]  # what is picked along an axis must first be told from what is called so then
    table = rename(table, plain)
    at = {axis: index for axis, index in at.items() if axis not in plain}
    return Pick(table, tuple(sorted(at.items(), key=lambda pair: pair[0].serial))) if at else table


def shift(arg: Value, axis: Axis, lag: int, fill: Value) -> Node:
    """The element `lag` steps back along an axis; `fill` where there is none."""
    arg = node(arg)
    if axis not in arg.axes:
        return where(lt(position(axis), lag), fill, arg)
    return Shift(arg, axis, lag, node(fill))


def concat(parts: Iterable[tuple[Value, Axis | None]], axis: Axis) -> Node:
    """Parts one after the other: each along an axis of its own, or one element where that is None."""
    return Concat(tuple((node(part), own) for part, own in parts), axis)


def stack(items: Iterable[Value], axis: Axis) -> Node:
    """One element each."""
    return concat([(item, None) for item in items], axis)


def merge(arg: Value, over: Iterable[Axis], axis: Axis) -> Node:
    """Several axes as one, the last running fastest; one alone is only called otherwise."""
    arg, axes = node(arg), tuple(over)
    arg = spread(arg, axes)
    return rename(arg, {axes[0]: axis}) if len(axes) == 1 else Merge(arg, axes, axis)


def tail(arg: Value, old: Axis, start: int, axis: Axis) -> Node:
    """The elements from a number on; what does not differ along the axis stays as it is."""
    arg = node(arg)
    return Tail(arg, old, start, axis) if old in arg.axes else arg


def contract(factors: Iterable[Node], over: Iterable[Axis]) -> Node:
    return Contract(tuple(factors), ordered(over))


def stop(arg: Value) -> Node:
    arg = node(arg)
    return arg if isinstance(arg, Const | Position | Input) and arg.dtype != "real" else Stop(arg)


def mean(arg: Value, over: Iterable[Axis]) -> Node:
    """Over the elements that count; of none, 0 / 0."""
    axes = tuple(over)
    return apply("div", reduce("sum", arg, axes), mul(*(count(axis) for axis in axes)))
