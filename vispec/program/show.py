"""The printed form of a program: one line a node, so that a reader predicts the emitted code from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vispec.program.axis import Axis, ordered
from vispec.program.node import Const, Input, Map, Node, Number, Source
from vispec.program.program import Program
from vispec.program.size import Size


def show(program: Program) -> str:
    """`%3 (sentence, t) = add %1 %2  # log_x`; real numbers unless it says otherwise."""
    names = Names()
    lines = [line(node, names, program.hints) for node in program.nodes() if not isinstance(node, Const | Number)]
    outputs = [f"{name} = {names.of(node)}" for name, node in program.outputs.items()]
    return "\n".join([*lines, *outputs]) + "\n"


class Names:
    """Numbers of nodes in the order of their lines, and axes by their hints, apart where two have one."""

    def __init__(self) -> None:
        self.nodes: dict[Node, str] = {}
        self.axes: dict[Axis, str] = {}

    def of(self, node: Node) -> str:
        if isinstance(node, Const):
            return repr(node.value)
        if isinstance(node, Number):
            return str(node.size)
        return self.nodes.setdefault(node, f"%{len(self.nodes) + 1}")

    def axis(self, axis: Axis) -> str:
        if axis not in self.axes:
            taken, name, again = set(self.axes.values()), axis.hint, 2
            while name in taken:
                name, again = f"{axis.hint}.{again}", again + 1
            self.axes[axis] = name
        return self.axes[axis]


def line(node: Node, names: Names, hints: Mapping[Node, str]) -> str:
    rest = " ".join(filter(None, (words(getattr(node, each.name), names) for each in fields(node))))
    kind = "" if isinstance(node, Map) else type(node).__name__.lower() + " "
    shape = "" if isinstance(node, Source) else f" ({', '.join(map(names.axis, axes_of(node)))})"
    dtype = "" if isinstance(node, Source) or node.dtype == "real" else f" {node.dtype}"
    hint = f"  # {hints[node]}" if node in hints else ""
    return f"{names.of(node)}{shape}{dtype} = {kind}{rest}{hint}"


def axes_of(node: Node) -> tuple[Axis, ...]:
    return node.order if isinstance(node, Input) else ordered(node.axes)


def words(value: Any, names: Names) -> str:
    """A field of a node."""
    match value:
        case Node():
            return names.of(value)
        case Axis():
            return names.axis(value)
        case Size():
            return str(value)
        case ():
            return ""
        case tuple() if all(isinstance(each, Axis) for each in value):
            return f"[{', '.join(map(names.axis, value))}]"
        case tuple() if all(isinstance(each, Node) for each in value):
            return " ".join(map(names.of, value))
        case tuple():
            return "(" + " ".join(filter(None, (words(each, names) for each in value))) + ")"
    return str(value)
