"""Nets, kernels and structures: what is called with tensors whose own axes come last."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from vispec.program.axis import Axis
from vispec.program.node import Call, Node, Part, Structure
from vispec.torch.code import Attribute, Code, Global, Slot, call, number, text
from vispec.torch.laws import in_place, lead_dims, with_events
from vispec.torch.layout import Value, aligned
from vispec.torch.writer import PLAIN, Writer


def _call(w: Writer, node: Call) -> Value:
    """All arguments aligned by the axes that are none's own; those come last."""
    values = [(with_events(w, given, own), own, keyword) for given, own, keyword in node.given]
    dims = lead_dims([(value, own) for value, own, _ in values])
    placed, named = list[Code](), dict[str, Code]()
    for value, own, keyword in values:
        code = aligned(w.tensor(value), (*dims, *own))
        if keyword:
            named[keyword] = code
        else:
            placed.append(code)
    named |= {name: setting(w, value) for name, value in node.settings}
    return Value(call(callee(node), *placed, **named), dims)


def callee(node: Call) -> Code:
    """self.net, self.net.method, or a kernel, whose name says its file: "vispec.kernels.sums.lookup:columns"."""
    kind, _, method = node.kind.partition(".")
    if kind == "net":
        return Code((Attribute("net", node.name), *([f".{method}"] if method else [])))
    module, _, name = node.name.partition(":")
    return Code((Global(name, module),))


def setting(w: Writer, value: Any) -> Code:
    """A plain value of Python; sizes as the module keeps them."""
    if isinstance(value, Node):
        return w.value(value).code
    if isinstance(value, Axis):
        return w.extent(value)
    return text(repr(value)) if not isinstance(value, int | float) else number(value)


def _part(w: Writer, node: Part) -> Value:
    """One output: the call itself where it has no other, else a name among those that its line gives."""
    source = w.values[node.source]
    output = node.source.outputs[node.index]
    dims = (*source.dims, *output.own)
    if len(node.source.outputs) == 1:
        return Value(source.code, dims, output.dtype)
    return Value(Code((Slot(node),)), dims, output.dtype)


def _structure(w: Writer, node: Structure) -> Value:
    """As its entry writes it: `written(writer, node)` of its file in vispec/structures."""
    entry = import_module("vispec.structures").structures()[node.kind]
    return entry.written(w, node)


def laid(w: Writer, nodes: Sequence[Node], own: Sequence[Sequence[Axis]]) -> tuple[list[Code], tuple[Axis, ...]]:
    """Arguments of a kernel, each with its own axes last and the others as they broadcast, and the axes of the result."""
    values = [with_events(w, node, axes) for node, axes in zip(nodes, own, strict=True)]
    dims = lead_dims(list(zip(values, own, strict=True)))
    return [in_place(w, value, axes, dims) for value, axes in zip(values, own, strict=True)], dims


PLAIN |= {Call: _call, Part: _part, Structure: _structure}
