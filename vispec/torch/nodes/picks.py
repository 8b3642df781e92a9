"""Tables at whole numbers: by slices, by index_select, whose gradient is fast, or by gathering along the last dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vispec.program.axis import Axis, copy
from vispec.program.facts import least, most, moving
from vispec.program.node import Const, Map, Node, Pick, Position
from vispec.torch.nodes.writer import DEVICE, PLAIN, Writer
from vispec.torch.text.code import SUM, Code, binary, call, index, method, number
from vispec.torch.text.layout import Value, aligned, merged, turned


def write(w: Writer, node: Pick) -> Value:
    at = {axis: valid(w, axis, each) for axis, each in node.at}
    table = w.value(node.table)
    at = {axis: each for axis, each in at.items() if axis in table.dims}  # along others it is spread
    table, at = _apart(table, at)
    table, at = _sliced(w, table, at, dict(node.at))
    if not at:
        return table
    kept = [axis for axis in table.dims if axis not in at]
    shared = [axis for axis in kept if any(axis in each.dims for each in at.values())]
    if len(at) == 1:
        ((axis, given),) = at.items()
        if (
            shared
            and {*kept} == {*shared}
            and given.dims[: len(shared)] == tuple(shared)
            and len(given.dims) == len(table.dims)
        ):
            table = turned(table, [*shared, axis])  # a whole index for each of the table's
            return Value(method(table.code, "gather", number(-1), given.code), given.dims, table.dtype)
    if len(at) == 1 and table.dtype == "real":
        ((axis, given),) = at.items()
        if not shared and len(kept) == 1 and table.dims[-1] is axis:
            code = call(w.kernel("sums.lookup", "columns"), table.code, given.code)
            return Value(code, (*given.dims, *kept), table.dtype)
        if shared or not kept:
            return _gathered(w, table, axis, given)
    return _cells(w, node.table, table, at, kept, shared)


def valid(w: Writer, axis: Axis, node: Node) -> Value:
    """An index, kept inside the table where it is computed: what it points at there is anything."""
    value = w.value(node)
    if value.python or is_valid(node):
        return value
    size, low, high = axis.origin.size, least(node), most(node)
    last = None if size is None or size.number is None else size.number - 1
    if last is not None and high <= last:
        return value if low >= 0 else replace(value, code=method(value.code, "clamp", min=number(0)))
    bound = number(last) if last is not None else binary(SUM, w.extent(axis), ("-", number(1)))
    code = method(value.code, "clamp", max=bound) if low >= 0 else method(value.code, "clamp", number(0), bound)
    return replace(value, code=code)


def is_valid(node: Node) -> bool:
    """Whether it is an index that is given, or one of several such."""
    match node:
        case Map("where", (_, *branches)):
            return all(each.value == 0 if isinstance(each, Const) else is_valid(each) for each in branches)
    return not isinstance(node, Map) or node.op in ("int", "mod")


def _apart(table: Value, at: dict[Axis, Value]) -> tuple[Value, dict[Axis, Value]]:
    """The table's axes under names of their own where an index differs along the axis that it, or another, is for."""
    own = {axis: copy(axis) for axis in at if any(axis in each.dims for each in at.values())}
    dims = tuple(own.get(axis, axis) for axis in table.dims)
    return replace(table, dims=dims), {own.get(axis, axis): each for axis, each in at.items()}


def _sliced(w: Writer, table: Value, at: dict[Axis, Value], told: Mapping[Axis, Node]) -> tuple[Value, dict[Axis, Value]]:
    """The table at those indices that are Python numbers."""
    fixed = {axis: each for axis, each in at.items() if each.python}
    if not fixed:
        return table, at
    items: list[str | Code] = [
        within(w, axis, fixed[axis].code, told.get(axis)) if axis in fixed else ":" for axis in table.dims
    ]
    while items and items[-1] == ":":
        items.pop()
    dims = tuple(axis for axis in table.dims if axis not in fixed)
    return replace(table, code=index(table.code, items), dims=dims), {a: each for a, each in at.items() if a not in fixed}


def within(w: Writer, axis: Axis, code: Code, told: Node | None) -> Code:
    """The place of an element that a plate whose size data tell may not have: then of its last, which nobody reads."""
    if not isinstance(told, Const) or told.value <= 0 or axis.kind != "plate" or axis.origin.size is not None:
        return code
    return call("min", code, binary(SUM, w.extent(axis), ("-", number(1))))


def _gathered(w: Writer, table: Value, axis: Axis, given: Value) -> Value:
    """table[..., index]: the axes of both broadcast."""
    table = turned(table, [*(each for each in table.dims if each is not axis), axis])
    dims = merged([table.dims[:-1], given.dims])
    own = aligned(table, (*dims, axis))
    return Value(call(w.kernel("sums.lookup", "pick_last"), own, aligned(given, dims)), dims, table.dtype)


def _cells(w: Writer, node: Node, table: Value, at: dict[Axis, Value], kept: list[Axis], shared: list[Axis]) -> Value:
    """Along several axes; those that an index has too are read at their own positions."""
    rest = [axis for axis in kept if axis not in shared]
    chosen = [axis for axis in table.dims if axis in at or axis in shared]
    table = turned(table, [*chosen, *rest])
    places = {axis: at.get(axis) or Value(_positions(w, axis), (axis,), "int") for axis in chosen}
    dims = merged(each.dims for each in places.values())
    codes = [aligned(places[axis], dims) for axis in chosen]
    if not (w.graph and moving(node)):
        return Value(index(table.code, codes), (*dims, *rest), table.dtype)
    return Value(call(w.kernel("sums.lookup", "cells"), table.code, *codes), (*dims, *rest), table.dtype)


def _positions(w: Writer, axis: Axis) -> Code:
    node = Position(axis)
    if node in w.values:
        return w.value(node).code
    return call("torch.arange", w.extent(axis), device=DEVICE)


PLAIN[Pick] = write
