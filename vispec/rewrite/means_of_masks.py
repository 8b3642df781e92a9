"""A net of the mean of what counts, for each of many masks of one sequence: what comes before the mean is run once.

net(words, mask_s) → net.of_elements(net.elements(words), mask_s)"""

from __future__ import annotations

from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Call, Dtype, Node, Part
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


class Means:
    """known: of each net and sequence what comes before the mean."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, Node], tuple[Node, tuple[Axis, Axis]]] = {}

    def rule(self, node: Node) -> Node | None:
        match node:
            case Part(Call("net", name, ((words, (along,), ""), (mask, own, _)), results, settings), index) if own == (along,):
                several = mask.axes - words.axes
                if "means" not in dict(settings) or not words.axes <= mask.axes or [each.kind for each in several] != ["joint"]:
                    return None
                (values,), (elements, shape) = several, self.elements(name, words, along)
                given = ((elements, shape, ""), (mask, (values, along), ""))
                heads: tuple[tuple[tuple[Axis, ...], Dtype], ...] = tuple(((values, *event), kind) for event, kind in results)
                return Part(Call("net", name, given, heads, (("mode", "of_elements"),)), index)
        return None

    def elements(self, name: str, words: Node, along: Axis) -> tuple[Node, tuple[Axis, Axis]]:
        if (name, words) not in self.known:
            shape = Axis("T + 1", "plate"), Axis("H", "event")
            found = Part(Call("net", name, ((words, (along,), ""),), ((shape, "real"),), (("mode", "elements"),)), 0)
            self.known[name, words] = found, shape
        return self.known[name, words]


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(Means().rule)


ENTRY = Rule(name="means_of_masks", what="what comes before a mean is run once for all masks", rewrite=rewrite)
