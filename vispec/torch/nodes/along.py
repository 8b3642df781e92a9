"""What is computed along axes: reductions, link functions, running sums, steps back, joined parts, products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vispec.program.axis import Axis, ordered
from vispec.program.node import Concat, Contract, Link, Merge, Node, Reduce, Scan, Shift, Tail
from vispec.torch.nodes.elementwise import number_of
from vispec.torch.nodes.writer import DEVICE, ONE, PLAIN, Writer
from vispec.torch.text.code import TERM, Code, attribute, binary, call, index, listed, method, number, text
from vispec.torch.text.layout import Value, aligned, merged, turned

METHODS = {"sum": "sum", "max": "amax", "min": "amin", "all": "all", "any": "any"}


def covering(w: Writer, node: Node, over: Sequence[Axis]) -> Value:
    """The value with dimensions for all axes that something is done along."""
    value = w.value(node)
    missing = [axis for axis in over if axis not in value.dims]
    if missing or value.python:
        return w.full(value, merged([value.dims, ordered({*value.dims, *over})]))
    return value


def at_end(value: Value, over: Sequence[Axis]) -> Value:
    """The value with these axes last, in order."""
    return turned(value, [axis for axis in value.dims if axis not in over] + list(over))


def places(value: Value, over: Sequence[Axis]) -> Code:
    """Dimensions as an argument: -1 for the last one."""
    found = sorted(value.dims.index(axis) for axis in over)
    if len(found) == 1:
        return number(-1 if found[0] == len(value.dims) - 1 else found[0])
    return listed(map(number, found))


def _reduce(w: Writer, node: Reduce) -> Value:
    assert all(axis.lengths is None for axis in node.over), "what counts along a ragged axis is made explicit before printing"
    value = covering(w, node.arg, node.over)
    kept = tuple(axis for axis in value.dims if axis not in node.over)
    if node.op in ("log_sum_exp", "total"):
        value = flattened(at_end(value, [axis for axis in value.dims if axis in node.over]), len(node.over))
        function = text("total") if node.op == "total" else Code((w.kernel("sums.logsum", "log_sum_exp"),))
        return Value(call(function, value.code), kept)
    if node.op in ("max", "min") and node.dtype == "bool":
        value = replace(value, code=method(value.code, "any" if node.op == "max" else "all", places(value, node.over)))
        return Value(value.code, kept, "bool")
    return Value(method(value.code, METHODS[node.op], places(value, node.over)), kept, node.dtype)


def flattened(value: Value, count: int) -> Value:
    """The value with its last dimensions as one; its dims say the first of them alone."""
    if count == 1:
        return value
    return replace(
        value, code=method(value.code, "flatten", number(-count), named=True), dims=value.dims[: len(value.dims) - count + 1]
    )


def _link(w: Writer, node: Link) -> Value:
    value = covering(w, node.arg, node.over)
    if node.op in ("softmax", "log_softmax"):
        return replace(value, code=method(value.code, node.op, places(value, node.over)))
    value = at_end(value, node.over)
    return replace(value, code=call(w.kernel("constraints", node.op), value.code))


def _scan(w: Writer, node: Scan) -> Value:
    value = covering(w, node.arg, [node.axis])
    value = w.whole(value)
    at = number(value.dims.index(node.axis))
    running = method(value.code, f"cum{node.op}", at)
    value = replace(value, code=running if node.op == "sum" else attribute(running, "values"))
    return stepped(w, value, node.axis, 1, w.value(node.empty))


def _shift(w: Writer, node: Shift) -> Value:
    value = covering(w, node.arg, [node.axis, *(axis for axis in w.value(node.fill).dims if axis in node.axes)])
    return stepped(w, value, node.axis, node.lag, w.value(node.fill))


def stepped(w: Writer, value: Value, axis: Axis, lag: int, fill: Value) -> Value:
    """The element `lag` steps back along an axis."""
    missing = [each for each in fill.dims if each not in value.dims]
    if missing:
        value = w.full(value, merged([value.dims, fill.dims]))
    if fill.python and (constant := number_of(fill)) is not None and value.dtype == "real":
        given = number(constant, real=True)
    else:
        given = aligned(fill, value.dims)
    at = number(value.dims.index(axis))
    return replace(value, code=call(w.kernel("sums.lookup", "steps_back"), value.code, number(lag), dim=at, fill=given))


def _concat(w: Writer, node: Concat) -> Value:
    parts = [(w.value(part), own) for part, own in node.parts]
    if node.dtype == "real":
        parts = [(w.real(value), own) for value, own in parts]
    around = merged(tuple(axis for axis in value.dims if axis is not own) for value, own in parts)
    match parts:
        case [(Value(python=True) as before, None), (value, Axis() as own)]:  # one number before all
            value = at_end(value, [own]) if own in value.dims else w.full(w.tensor(value), (*value.dims, own))
            padded = call(w.functional("pad"), value.code, text("(1, 0)"), value=before.code)
            return Value(padded, (*around, node.axis), node.dtype)
    if all(value.python and own is None for value, own in parts):
        code = listed((value.code for value, _ in parts), "[]")
        made = method(ONE, "new_tensor", code) if node.dtype == "real" else call("torch.tensor", code, device=DEVICE)
        return Value(made, (node.axis,), node.dtype)
    parts = [(w.tensor(value), own) for value, own in parts]
    dims = (*around, node.axis)
    if all(own is None for _, own in parts):
        codes = [w.full(value, around).code for value, _ in parts]
        return Value(call("torch.stack", listed(codes, "[]"), number(-1)), dims, node.dtype)
    codes = []
    for value, own in parts:
        if own is None:
            one = w.full(value, around)
            codes.append(method(one.code, "unsqueeze", number(-1)))
        else:
            codes.append(w.full(value, (*around, own)).code)
    return Value(call("torch.cat", listed(codes, "[]"), number(-1)), dims, node.dtype)


def contracted(w: Writer, node: Contract) -> Value:
    values = [w.tensor(w.real(covering(w, each, [axis for axis in node.over if axis in each.axes]))) for each in node.factors]
    every = {axis for value in values for axis in value.dims}
    unread = [axis for axis in node.over if axis not in every]
    if unread:
        values[0] = w.full(values[0], (*values[0].dims, *unread))
    return _matrices(values, node) or _einsum(values, node)


def _matrices(values: list[Value], node: Contract) -> Value | None:
    """x @ y: the way that turns fewest factors, and gives dimensions in their usual order."""
    if len(values) != 2 or len(node.over) != 1:
        return None
    (left, right), (axis,) = values, node.over
    found = [made for x, y in ((left, right), (right, left)) if (made := _product(x, y, axis)) is not None]
    return min(found, key=lambda each: each[0])[1] if found else None


def _product(x: Value, y: Value, axis: Axis) -> tuple[int, Value] | None:
    """x @ y and how much is not as it would best be; y is a vector or a matrix, or one for each matrix of x."""
    both = [each for each in x.dims if each in y.dims and each is not axis]
    own = [each for each in y.dims if each not in both and each is not axis]
    left = [each for each in x.dims if each is not axis]
    if len(own) > 1 or (both and (len(own) != 1 or len(left) != len(both) + 1)):
        return None
    rows = [*both, *(each for each in left if each not in both)]
    x_dims, y_dims, dims = (*rows, axis), (*both, axis, *own), (*rows, *own)
    turns = (x.dims != x_dims) + (y.dims != y_dims) + (dims != ordered(dims))
    return turns, Value(binary(TERM, turned(x, x_dims).code, ("@", turned(y, y_dims).code)), dims)


def _einsum(values: list[Value], node: Contract) -> Value:
    every = list(dict.fromkeys(axis for value in values for axis in value.dims))
    letters = _letters(every)
    dims = tuple(axis for axis in merged(value.dims for value in values) if axis not in node.over)
    spell = lambda axes: "".join(letters[axis] for axis in axes)  # noqa: E731
    formula = f'"{",".join(spell(value.dims) for value in values)}->{spell(dims)}"'
    return Value(call("torch.einsum", text(formula), *(value.code for value in values)), dims)


def _letters(axes: list[Axis]) -> dict[Axis, str]:
    """A letter for each axis, the first of its hint that is free."""
    found: dict[Axis, str] = {}
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for axis in axes:
        own = [letter for letter in axis.hint.lower() if letter in alphabet]
        found[axis] = next(letter for letter in [*own, *alphabet] if letter not in found.values())
    return found


def _merge(w: Writer, node: Merge) -> Value:
    value = w.full(w.value(node.arg), merged([w.value(node.arg).dims, ordered(node.arg.axes)]))
    first, count = value.dims.index(node.over[0]), len(node.over)
    if value.dims[first : first + count] == node.over and first + count < len(value.dims):  # they stand together
        code = method(value.code, "flatten", number(first), number(first + count - 1), named=True)
        return replace(value, code=code, dims=(*value.dims[:first], node.axis, *value.dims[first + count :]))
    value = at_end(value, node.over)
    code = method(value.code, "flatten", number(-len(node.over)), named=True)
    return replace(value, code=code, dims=(*value.dims[: len(value.dims) - len(node.over)], node.axis))


def _tail(w: Writer, node: Tail) -> Value:
    value = covering(w, node.arg, [node.old])
    at = value.dims.index(node.old)
    dims = tuple(node.axis if axis is node.old else axis for axis in value.dims)
    return replace(value, code=index(value.code, [*[":"] * at, f"{node.start}:"]), dims=dims)


PLAIN |= {Merge: _merge, Tail: _tail} | {
    Reduce: _reduce,
    Link: _link,
    Scan: _scan,
    Shift: _shift,
    Concat: _concat,
    Contract: contracted,
}
