"""1 - exp(x) → -expm1(x), and exp(x) - 1 → expm1(x): no digits are lost near 0."""

from __future__ import annotations

from vispec.program import build
from vispec.program.cost import Numbers
from vispec.program.node import Const, Map, Node
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    match node:
        case Map("sub", (Const(1), Map("exp", (x,)))):
            return build.neg(build.apply("expm1", x))
        case Map("sub", (Map("exp", (x,)), Const(1))):
            return build.apply("expm1", x)
        case Map("add", operands):
            minus_one = [each for each in operands if build.is_const(each, -1)]
            exponential = [each for each in operands if isinstance(each, Map) and each.op == "exp"]
            if minus_one and exponential:
                rest = [each for each in operands if each not in (minus_one[0], exponential[0])]
                return build.add(build.apply("expm1", exponential[0].operands[0]), *rest)
    return None


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(name="one_minus_exp", what="1 - exp(x) without a loss of digits", rewrite=rewrite)
