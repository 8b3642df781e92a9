"""A test of what is seen asks its value as it is: what stands for it where it is not seen is not made.

seen and where(seen, x, 0) = k → seen and x = k."""

from __future__ import annotations

from vispec.program import build
from vispec.program.cost import Numbers
from vispec.program.node import Map, Node
from vispec.program.program import Program
from vispec.rewrite.rules import Rule

TESTS = ("eq", "lt", "le", "not", "or", "bool", "int", "real")


def rule(node: Node) -> Node | None:
    match node:
        case Map("and", tests):
            found = [bare(test, {*tests} - {test}) for test in tests]
            return build.both(*found) if any(a is not b for a, b in zip(tests, found, strict=True)) else None
    return None


def bare(test: Node, others: set[Node]) -> Node:
    """The test where the others hold."""
    match test:
        case Map("where", (seen, value, _)) if seen in others and value.dtype == test.dtype:
            return value
        case Map(op, operands) if op in TESTS:
            return build.apply(op, *(bare(each, others) for each in operands))
    return test


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(name="seen_values", what="tests of what is seen ask its value as it is", rewrite=rewrite)
