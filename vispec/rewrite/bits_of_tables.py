"""The law of a bit by a table of log-odds: these are picked first, so that of two logarithms one is computed."""

from __future__ import annotations

from vispec.program import build
from vispec.program.cost import Numbers
from vispec.program.node import Map, Node, Pick
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    match node:
        case Map("where", (test, Pick(Map("log_sigmoid", (x,)), at), Pick(Map("log_sigmoid", (y,)), also))) if at == also:
            if build.neg(x) is y or build.neg(y) is x:
                then, otherwise = (build.apply("log_sigmoid", build.pick(each, dict(at))) for each in (x, y))
                return build.where(test, then, otherwise)
    return None


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(
    name="bits_of_tables", what="log-odds of bits are picked before their logarithms", rewrite=rewrite, after=("joined_picks",)
)
