"""The functions and operators of expressions as nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vispec.factors.frame import shape_of
from vispec.model.model import Apply
from vispec.model.types import MISSING
from vispec.model.walk import law_parts, walk
from vispec.program import build
from vispec.program.axis import ordered
from vispec.program.node import Call, Input, Node, Part
from vispec.program.walk import reads

if TYPE_CHECKING:
    from vispec.factors.frame import Frame

Function = Callable[["Frame", Apply, Sequence[Node]], Node]


def _map(op: str) -> Function:
    return lambda f, e, args: build.apply(op, *args)


def _number(x: Node) -> Node:
    """Truths as the numbers 0 and 1."""
    return build.apply("real", x) if x.dtype == "bool" else x


def _arithmetic(op: str) -> Function:
    return lambda f, e, args: build.apply(op, *map(_number, args))


def _compare(op: str, swap: bool = False, opposite: bool = False) -> Function:
    def compile_(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
        one, other = map(_number, args)
        found = build.apply(op, *((other, one) if swap else (one, other)))
        return build.apply("not", found) if opposite else found

    return compile_


def _logical(op: str) -> Function:
    return lambda f, e, args: build.apply(op, *(build.apply("bool", each) for each in args))


def _relu(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
    return build.apply("max", args[0], 0 if args[0].dtype == "int" else 0.0)


def _softmax(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
    return build.link("softmax", build.apply("real", args[0]), f.shape(e.type)[-1:])


def _reduction(op: str, f: Frame, e: Apply, args: Sequence[Node]) -> Node:
    """Of a vector; `max(a, b)` and `min(a, b)` elementwise."""
    if len(args) == 2:
        kinds = {arg.dtype for arg in args}
        return build.apply(op, *(args if kinds == {"int"} else (build.apply("real", arg) for arg in args)))
    axes = f.axes(shape_of(f, e.args[0]))[-1:]
    node = _number(args[0])
    if op == "mean":
        return build.mean(node, axes)
    return build.reduce(op, node, axes)


def _reduce(op: str) -> Function:
    def compile_(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
        found = _reduction(op, f, e, args)
        return moved(f, found, shape_of(f, e.args[0])[:-1], 1) if len(args) == 1 else found

    return compile_


def moved(f: Frame, node: Node, shape: tuple, by: int) -> Node:
    """Event dimensions of a shape that stand `by` places too far to the left, at their places."""
    places = [(dim, len(shape) - 1 - at) for at, dim in enumerate(shape)]
    return build.rename(node, {f.event(dim, place + by): f.event(dim, place) for dim, place in places})


def _dot(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
    """Vectors, a matrix and a vector, or a vector and a matrix: Σ over the dimension that both have."""
    left, right = (build.apply("real", arg) for arg in args)
    one, other = (shape_of(f, arg) for arg in e.args)
    if len(one) == 1 and len(other) == 1:
        return build.contract((left, right), (f.event(one[0], 0),)) if one == other else _met(f, left, right, one, other)
    if len(one) == 2:
        shared = f.event(one[1], 0)
        right = build.rename(right, {f.event(other[0], 0): shared})
        return moved(f, build.contract((left, right), (shared,)), one[:1], 1)
    shared = f.event(other[0], 1)
    left = build.rename(left, {f.event(one[0], 0): shared})
    return build.contract((left, right), (shared,))


def _met(f: Frame, left: Node, right: Node, one: tuple, other: tuple) -> Node:
    """Vectors whose sizes are equal and written differently."""
    shared = f.event(one[0], 0)
    return build.contract((left, build.rename(right, {f.event(other[0], 0): shared})), (shared,))


def _ordinal(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
    """Probabilities of the intervals between cuts."""
    place, cuts = (build.apply("real", arg) for arg in args)
    (own,), (result,) = f.axes(shape_of(f, e.args[1])), f.shape(e.type)
    given = ((place, (), ""), (cuts, (own,), ""))
    name = "vispec.kernels.probability:ordinal_log_probs"
    return build.exp(Part(Call("kernel", name, given, (((result,), "real"),), ()), 0))


def _concat(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
    shapes = [shape_of(f, arg) for arg in e.args]
    parts = [(_number(arg), f.axes(shape)[0] if shape else None) for arg, shape in zip(args, shapes, strict=True)]
    real = any(part.dtype == "real" for part, _ in parts)
    if len(parts) == 1 and parts[0][1] is not None:
        return parts[0][0]
    return build.concat([(build.apply("real", part) if real else part, own) for part, own in parts], f.shape(e.type)[0])


def _one_hot(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
    (axis,) = f.shape(e.type)[-1:]
    return build.apply("real", build.eq(build.apply("int", args[0]), build.position(axis)))


def _cast(domain: str) -> Function:
    """The value as it is where it lies in the domain, else nan; where padding stands, one that lies in it."""

    def compile_(f: Frame, e: Apply, args: Sequence[Node]) -> Node:
        x = build.apply("real", args[0])
        if not reads(x, Input):
            return x
        own = f.axes(shape_of(f, e.args[0]))[-1:] if domain == "simplex" else ()
        ragged = [axis for axis in ordered(x.axes) if axis.lengths is not None]
        if ragged:
            padding = build.apply("div", 1.0, build.count(own[0])) if own else MISSING.get(domain, 0)
            x = build.where(build.both(*map(build.inside, ragged)), x, padding)
        said = " ".join(f.model.source.text[e.span.start : e.span.end].split())
        settings = (("said", f"`{said}`{_owner(f, e)}"),)
        return Part(Call("kernel", f"vispec.kernels.casts:surely_{domain}", ((x, own, ""),), ((own, "real"),), settings), 0)

    return compile_


def _owner(f: Frame, e: Apply) -> str:
    """Whose law or value the expression stands in."""
    laws = [(variable.name, variable.law) for variable in f.model.variables if variable.law is not None]
    parts = [(name, part) for name, law in laws for part in law_parts(law)] + [(let.name, let.value) for let in f.model.lets]
    return next((f" of `{name}`" for name, part in parts if any(inner is e for inner in walk(part))), "")


FUNCTIONS: dict[str, Function] = {
    **{domain: _cast(domain) for domain in ("unit", "positive", "count", "simplex")},
    "+": _arithmetic("add"),
    "-": _arithmetic("sub"),
    "*": _arithmetic("mul"),
    "/": _arithmetic("div"),
    "^": _arithmetic("pow"),
    "neg": _arithmetic("neg"),
    "<": _compare("lt"),
    "<=": _compare("le"),
    ">": _compare("lt", swap=True),
    ">=": _compare("le", swap=True),
    "==": _compare("eq"),
    "!=": _compare("eq", opposite=True),
    "and": _logical("and"),
    "or": _logical("or"),
    "not": _logical("not"),
    **{op: _map(op) for op in ("exp", "log", "sqrt", "sigmoid", "tanh", "softplus", "lgamma", "erf", "sin", "cos")},
    **{op: _arithmetic(op) for op in ("abs", "floor", "round", "sign")},
    "Phi": _map("ndtr"),
    "relu": _relu,
    "softmax": _softmax,
    **{op: _reduce(op) for op in ("sum", "mean", "max", "min")},
    "dot": _dot,
    "ordinal": _ordinal,
    "concat": _concat,
    "one_hot": _one_hot,
}

BY_ELEMENT = frozenset(["+", "-", "*", "/", "^", "<", "<=", ">", ">=", "==", "!=", "and", "or", "min", "max"])
"""Functions of two arguments whose dimensions meet."""
