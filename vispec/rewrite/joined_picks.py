"""Entries picked out of entries picked out of a table: picked at once, so that rows that are read in part are not copied."""

from __future__ import annotations

from vispec.program import build
from vispec.program.cost import Numbers
from vispec.program.node import Node, Pick
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rewrite(program: Program, numbers: Numbers) -> Program:
    readers: dict[Node, int] = {}
    for node in program.nodes():
        for arg in {*node.args}:
            readers[arg] = readers.get(arg, 0) + 1

    def rule(node: Node) -> Node | None:
        match node:
            case Pick(Pick(table, inner) as rows, outer) if readers.get(rows, 1) == 1:
                among = {axis for _, index in inner for axis in index.axes}
                picked = {axis for axis, _ in outer}
                if picked <= table.axes and not picked & among:
                    return build.pick(table, {**dict(inner), **dict(outer)})
        return None

    return program.rewritten(rule)


ENTRY = Rule(name="joined_picks", what="entries of picked rows are picked at once", rewrite=rewrite, after=("distinct",))
