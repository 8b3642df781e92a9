"""A sum over elements of what each says of the one that it points at, by one addition by index.

Σ_n where(index_n = e, x_n, 0) for each e → add_by_index(x, index): as many additions as there are x, not one for each e too."""

from __future__ import annotations

from vispec.program.cost import Numbers
from vispec.program.node import Const, Map, Node, Position, Reduce
from vispec.program.pointed import added_at
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    match node:
        case Reduce("sum", Map("where", (Map("eq", (index, Position(place))), x, Const(0))), over):
            fits = x.dtype == "real" and place not in over and place not in x.axes | index.axes
            return added_at(x, [(place, index)], over) if fits and index.axes & {*over} else None
    return None


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(name="sums_by_index", what="sums of what points at an element are additions by index", rewrite=rewrite)
