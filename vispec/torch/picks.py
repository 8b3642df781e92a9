"""Tables at whole numbers: by slices, by index_select, whose gradient is fast, or by gathering along the last dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vispec.program.axis import Axis, copy
from vispec.program.facts import moving
from vispec.program.node import Node, Pick, Position
from vispec.torch.code import Code, call, index, method, number, text
from vispec.torch.layout import Value, aligned, merged, turned
from vispec.torch.writer import DEVICE, PLAIN, Writer


def write(w: Writer, node: Pick) -> Value:
    at = {axis: valid(w, axis, each) for axis, each in node.at}
    table = w.value(node.table)
    at = {axis: each for axis, each in at.items() if axis in table.dims}  # along others it is spread
    table, at = _apart(table, at)
    table, at = _sliced(table, at)
    if not at:
        return table
    kept = [axis for axis in table.dims if axis not in at]
    shared = [axis for axis in kept if any(axis in each.dims for each in at.values())]
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
    from vispec.program.facts import least
    from vispec.program.node import Input, Map

    value = w.value(node)
    if not isinstance(node, Map) or node.op in ("int", "mod"):
        return value
    if value.python:
        return value
    low = least(node) >= 0
    bound = w.extent(axis)
    from vispec.torch.code import SUM, binary

    last = binary(SUM, bound, ("-", number(1)))
    assert Input
    code = method(value.code, "clamp", max=last) if low else method(value.code, "clamp", number(0), last)
    return replace(value, code=code)


def _apart(table: Value, at: dict[Axis, Value]) -> tuple[Value, dict[Axis, Value]]:
    """The table's axes under names of their own where an index differs along the axis that it, or another, is for."""
    own = {axis: copy(axis) for axis in at if any(axis in each.dims for each in at.values())}
    dims = tuple(own.get(axis, axis) for axis in table.dims)
    return replace(table, dims=dims), {own.get(axis, axis): each for axis, each in at.items()}


def _sliced(table: Value, at: dict[Axis, Value]) -> tuple[Value, dict[Axis, Value]]:
    """The table at those indices that are Python numbers."""
    fixed = {axis: each for axis, each in at.items() if each.python}
    if not fixed:
        return table, at
    items: list[str | Code] = [fixed[axis].code if axis in fixed else ":" for axis in table.dims]
    while items and items[-1] == ":":
        items.pop()
    dims = tuple(axis for axis in table.dims if axis not in fixed)
    return replace(table, code=index(table.code, items), dims=dims), {a: each for a, each in at.items() if a not in fixed}


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
    if not moving(node):
        return Value(index(table.code, codes), (*dims, *rest), table.dtype)
    return Value(call(w.kernel("sums.lookup", "cells"), table.code, *codes), (*dims, *rest), table.dtype)


def _positions(w: Writer, axis: Axis) -> Code:
    node = Position(axis)
    if node in w.values:
        return w.value(node).code
    return call("torch.arange", w.extent(axis), device=DEVICE)


PLAIN[Pick] = write
Shape = Sequence[Axis]
assert text
