"""A plate in which one stands has an element: what is divided by its length there is divided by at least 1.

i / |x| in the plate of x is 0 / 0 where a row has no x. Nobody reads it, but its gradient would be 0 · ∞, and arrives at
whatever stands behind it."""

from __future__ import annotations

from vispec.program import build
from vispec.program.cost import Numbers
from vispec.program.node import Map, Node
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    match node:
        case Map("div", (x, Map("real", (length,)) | length)) if any(axis.lengths is length for axis in node.axes):
            return build.apply("div", x, build.apply("max", length, 1))
    return None


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(name="lengths", what="a plate in which one stands has a length of at least 1", rewrite=rewrite)
