"""Rows of a table that are picked after its softmax: the rows are picked first, where fewer are picked than there are."""

from __future__ import annotations

from vispec.program import build
from vispec.program.cost import Numbers
from vispec.program.node import Link, Node, Pick
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rewrite(program: Program, numbers: Numbers) -> Program:
    readers: dict[Node, int] = {}
    for node in program.nodes():
        for arg in {*node.args}:
            readers[arg] = readers.get(arg, 0) + 1

    def rule(node: Node) -> Node | None:
        match node:
            case Pick(Link("softmax" | "log_softmax" as op, table, over) as whole, at) if not {*over} & {
                axis for axis, _ in at
            }:
                picked = build.pick(table, dict(at))
                fewer = numbers.elements(picked.axes) < numbers.elements(table.axes)
                shared = {*over} & {axis for _, index in at for axis in index.axes}
                if fewer and not shared and readers.get(whole) == 1:
                    return build.link(op, picked, over)
        return None

    return program.rewritten(rule)


ENTRY = Rule(name="below_softmax", what="few rows are picked before the softmax", rewrite=rewrite, after=("distinct",))
