"""A net of the mean of what counts, for each of many masks of one sequence: what comes before the mean is run once.

net(words, mask_s) → net.of_elements(net.elements(words), mask_s)"""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Call, Const, Dtype, Map, Node, Part
from vispec.program.program import Program
from vispec.rewrite.joint_values import digit_of
from vispec.rewrite.rules import Rule


class Means:
    """known: of each net and sequence what comes before the mean."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, Node], tuple[Node, tuple[Axis, Axis]]] = {}

    def rule(self, node: Node) -> Node | None:
        match node:
            case Part(Call("net", name, ((words, (along, *vector), ""), (mask, (own,), _)), results, settings), index) if (
                own is along
            ):
                several = mask.axes - words.axes
                if "means" not in dict(settings) or [each.kind for each in several] != ["joint"]:
                    return None
                if not words.axes - {*vector} <= mask.axes:
                    return None
                (values,), (elements, shape) = several, self.elements(name, words, (along, *vector))
                given = ((elements, shape, ""), (digits_alone(mask, values, along), (values, along), ""))
                heads: tuple[tuple[tuple[Axis, ...], Dtype], ...] = tuple(((values, *event), kind) for event, kind in results)
                return Part(Call("net", name, given, heads, (("mode", "of_elements"),)), index)
        return None

    def elements(self, name: str, words: Node, own: tuple[Axis, ...]) -> tuple[Node, tuple[Axis, Axis]]:
        if (name, words) not in self.known:
            shape = Axis("T + 1", "plate"), Axis("H", "event")
            found = Part(Call("net", name, ((words, own, ""),), ((shape, "real"),), (("mode", "elements"),)), 0)
            self.known[name, words] = found, shape
        return self.known[name, words]


def digits_alone(mask: Node, values: Axis, along: Axis) -> Node:
    """The mask without the test which elements count, where it asks for digits of joint values that are not zero. A row's own
    have only zeros past its end, and the others are left out of its sum, so that the mask is the same for all rows."""
    if values.origin.of[1:] != (along.origin,) or not isinstance(mask, Map) or mask.op != "and":
        return mask
    if not any(is_digit(test, values, along) for test in mask.operands):
        return mask
    return build.both(*(test for test in mask.operands if test is not build.inside(along)))


def is_digit(test: Node, values: Axis, along: Axis) -> bool:
    """Whether it asks for digits that are not zero."""
    match test:
        case Map("bool", (Map("real", (digit,)),)) | Map("lt", (Const(0), digit)):
            return digit_of(digit, values.origin.of[0]) == (values, along)
    return False


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(Means().rule)


ENTRY = Rule(name="means_of_masks", what="what comes before a mean is run once for all masks", rewrite=rewrite)
