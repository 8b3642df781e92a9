"""Sums over structures as calls of the kernels that compute them."""

from __future__ import annotations

from vispec.program.cost import Numbers
from vispec.program.node import Node, Structure
from vispec.program.program import Program
from vispec.rewrite.rules import Rule
from vispec.structures import structures


def rule(node: Node) -> Node | None:
    if not isinstance(node, Structure):
        return None
    call = structures()[node.kind].call
    assert call is not None, f"no kernel sums {node.kind}"
    return call(node)


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule("structures", "sums over structures are calls of kernels", rewrite, needed=True)
