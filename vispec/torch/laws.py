"""Densities, draws and noise of the catalog's laws."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from vispec.catalog import distributions
from vispec.program.axis import Axis, ordered
from vispec.program.node import Density, Draw, Node, Noise
from vispec.torch.code import Code, Global, call, method, number, text
from vispec.torch.layout import Value, aligned, merged
from vispec.torch.writer import ONE, PLAIN, Writer


def source_of(function: Callable[..., Any]) -> Global:
    """A function of an entry, which the module carries."""
    module = inspect.getmodule(function)
    assert module is not None
    return Global(function.__name__, module.__name__)


def _density(w: Writer, node: Density) -> Value:
    entry = distributions()[node.law]
    value = with_events(w, node.value, node.events)
    params = [(name, with_events(w, param, own), own) for name, param, own in node.params]
    dims = lead_dims([(value, node.events), *((each, own) for _, each, own in params)])
    x = aligned(value, (*dims, *node.events)) if not value.python else w.tensor(value).code
    codes = {name: in_place(w, each, own, dims, name in entry.wide) for name, each, own in params}
    if entry.kernel is not None:
        return Value(call(source_of(entry.kernel), x, *codes.values()), dims)
    law = call(f"torch.distributions.{entry.torch_class}", **codes)
    return Value(method(law, "log_prob", x), dims)


def with_events(w: Writer, node: Node, events: Sequence[Axis]) -> Value:
    """A value with its event axes all there."""
    value = w.value(node)
    if any(axis not in value.dims for axis in events):
        value = w.full(value, (*(axis for axis in value.dims if axis not in events), *events))
    return value


def lead_dims(values: Sequence[tuple[Value, Sequence[Axis]]]) -> tuple[Axis, ...]:
    """The dimensions before those of one draw."""
    return merged(tuple(axis for axis in value.dims if axis not in own) for value, own in values)


def in_place(w: Writer, value: Value, own: Sequence[Axis], dims: Sequence[Axis], wide: bool = False) -> Code:
    """A param as a kernel takes it: a tensor of real numbers, its own axes last."""
    code = aligned(w.tensor(w.real(value)), (*dims, *own))
    return method(code, "double") if wide else code


def _draw(w: Writer, node: Draw) -> Value:
    """By torch.distributions; the draw of each site is one of its own."""
    entry = distributions()[node.law]
    params = [(name, with_events(w, param, own), own) for name, param, own in node.params]
    around = ordered(node.axes - {*node.events})
    codes = {name: in_place(w, each, own, around) for name, each, own in params}
    law = call(f"torch.distributions.{entry.torch_class}", **codes)
    shared = {axis for _, each, own in params for axis in each.dims if axis not in own}
    if shared != {*around}:
        law = method(law, "expand", Code((_shape(w, around),)))
    code = method(law, "rsample" if node.pathwise else "sample")
    if node.kind == "int":
        code = code if entry.support == "index" else method(code, "long")
    elif node.kind == "bool":
        code = method(code, "bool")
    return Value(code, (*around, *node.events), node.kind)


def _shape(w: Writer, axes: Sequence[Axis]) -> Any:
    from vispec.torch.code import Args

    items = tuple(w.extent(axis) for axis in axes)
    return Args("(", items, ",)" if len(items) == 1 else ")")


def _noise(w: Writer, node: Noise) -> Value:
    code = method(ONE, "new_empty", *(w.extent(axis) for axis in node.order)) if node.order else method(ONE, "new_empty", text("()"))
    return Value(method(code, {"normal": "normal_", "uniform": "uniform_", "exponential": "exponential_"}[node.law]), node.order)


PLAIN |= {Density: _density, Draw: _draw, Noise: _noise}
assert replace
assert number
