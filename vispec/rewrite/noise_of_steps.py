"""Branches of a loop draw by themselves: the noise of one stands in no other's way."""

from __future__ import annotations

from vispec.program.cost import Numbers
from vispec.program.node import Loop, Node, Noise
from vispec.program.program import Program
from vispec.program.walk import nodes, substitute
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    """A loop each of whose bodies has its own noise."""
    if not isinstance(node, Loop):
        return None
    bodies = list[tuple[Node, ...]]()
    for at, body in enumerate(node.bodies):
        own = {each: Noise(f"{each.site} {at}", each.law, each.order) for each in nodes(body) if isinstance(each, Noise) and at}
        bodies.append(tuple(substitute(body, own)))
    return Loop(node.loop, node.axis, tuple(bodies), node.around, node.draws)


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule("noise_of_steps", "branches of a loop draw by themselves", rewrite)
