"""A net that reads what differs from one prefix to the next only behind what it made of the prefix, makes it of each once.

net.prefixes(y, x)[i' = i] for y (i), x (i') → net.prefixes(y, x) along i"""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Call, Node, Part, Pick, Position
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    match node:
        case Pick(Part(Call("net", settings=settings) as call, index), ((other, Position(axis)),)) if "behind" in dict(
            settings
        ):
            return None if axis not in call.shared else Part(along(call, other, axis), index)
    return None


def along(call: Call, other: Axis, axis: Axis) -> Call:
    """The call with the axis for that of the prefixes, over which all that it is given runs."""

    def named(own: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(axis if each is other else each for each in own)

    given = tuple((build.rename(node, {other: axis}), named(own), name) for node, own, name in call.given)
    return Call("net", call.name, given, tuple((named(own), dtype) for own, dtype in call.results), call.settings)


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(name="diagonal", what="what is read behind a prefix is given to all prefixes at once", rewrite=rewrite)
