"""Branches of a loop draw by themselves: the noise of one stands in no other's way."""

from __future__ import annotations

from typing import TypeGuard

from vispec.program.cost import Numbers
from vispec.program.node import Loop, Node, Noise
from vispec.program.program import Program
from vispec.program.walk import is_drawn_in, nodes, substitute
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    """A loop each of whose bodies has its own noise."""
    if not isinstance(node, Loop):
        return None
    bodies, draws = list[tuple[Node, ...]](), dict.fromkeys(node.draws)
    for at, body in enumerate(node.bodies):
        apart = [each for each in nodes(body) if own_noise(each, node) and at]
        own: dict[Node, Node] = {each: Noise(f"{each.site} {at}", each.law, each.order) for each in apart}
        draws |= dict.fromkeys(f"{each.site} {at}" for each in apart)
        bodies.append(tuple(substitute(body, own)))
    return Loop(node.loop, node.axis, tuple(bodies), node.around, tuple(draws))


def own_noise(node: Node, loop: Loop) -> TypeGuard[Noise]:
    """Whether it is drawn anew at each step."""
    return isinstance(node, Noise) and is_drawn_in(node, loop)


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule("noise_of_steps", "branches of a loop draw by themselves", rewrite)
