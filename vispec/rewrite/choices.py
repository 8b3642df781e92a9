"""Of two tests, the one that differs along more is asked last, once, and not in both branches of the other.

where(c, where(m, a, b), where(m, x, y)) → where(m, where(c, a, x), where(c, b, y)) where that touches less: of small tables
that c tells apart one is chosen for each element that m differs along, not two and then one of these."""

from __future__ import annotations

from vispec.program import build
from vispec.program.cost import Numbers
from vispec.program.node import Map, Node
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rewrite(program: Program, numbers: Numbers) -> Program:
    readers: dict[Node, int] = {}
    for node in program.nodes():
        for arg in {*node.args}:
            readers[arg] = readers.get(arg, 0) + 1

    def once(node: Node) -> bool:
        return readers.get(node, 1) == 1 and node not in program.hints

    def touched(*nodes: Node) -> int:
        return sum(numbers.elements(each.axes) for each in nodes if isinstance(each, Map))

    def rule(node: Node) -> Node | None:
        match node:
            case Map("where", (test, Map("where", (common, a, b)) as then, Map("where", (same, x, y)) as otherwise)) if (
                common is same and once(then) and once(otherwise)
            ):
                both = build.where(test, a, x), build.where(test, b, y)
                found = build.where(common, *both)
                return found if touched(found, *both) < touched(node, then, otherwise) else None
        return None

    return program.rewritten(rule)


WHAT = "what two branches both ask is asked once, where that touches less"
ENTRY = Rule(name="choices", what=WHAT, rewrite=rewrite, after=("masks",))
