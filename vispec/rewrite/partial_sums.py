"""A sum that has all terms of another one is that one and the rest.

a + b + c beside a + b → (a + b) + c. Sums are flat so that every rule sees their terms; what they share is found at last."""

from __future__ import annotations

from collections import Counter

from vispec.program.cost import Numbers
from vispec.program.node import Map, Node
from vispec.program.program import Program
from vispec.program.walk import inside_loops
from vispec.rewrite.rules import Rule


def rewrite(program: Program, numbers: Numbers) -> Program:
    while (found := first(program)) is not None:
        whole, part = found
        rest = Counter(whole.operands) - Counter(part.operands)
        new = Map("add", (part, *rest.elements()))  # the builder would make it flat again
        program = program.rewritten(lambda node, whole=whole, new=new: new if node is whole else None)
    return program


def first(program: Program) -> tuple[Map, Map] | None:
    """The first sum that has another one in it, and the longest of those. A step of a loop, or a branch of one, has its own."""
    order = program.nodes()
    loops = inside_loops(order)
    sums = [node for node in order if isinstance(node, Map) and node.op == "add" and not loops[node]]
    by_term: dict[Node, list[Map]] = {}
    for each in sums:
        by_term.setdefault(each.operands[0], []).append(each)
    for whole in sums:
        parts = [
            part
            for term in dict.fromkeys(whole.operands)
            for part in by_term.get(term, ())
            if Counter(part.operands) < Counter(whole.operands)
        ]
        if parts:
            return whole, max(parts, key=lambda part: len(part.operands))
    return None


ENTRY = Rule(
    name="partial_sums",
    what="a sum that has all terms of another one is that one and the rest",
    rewrite=rewrite,
    after=("guard", "merged_products", "noise_of_steps", "one_minus_exp", "products", "structures"),
)
