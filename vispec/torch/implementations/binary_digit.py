"""A digit of base 2: by a shift."""

from dataclasses import replace

from vispec.program.node import Const, Map, Node
from vispec.torch.nodes.elementwise import joined
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import AND, OR, SUM, Code, binary, number
from vispec.torch.text.layout import Value


def match(node: Node) -> Match | None:
    match node:
        case Map("mod", (Map("floor_div", (joint, Map("int_pow", (Const(2), place)) as power)) as rest, Const(2))):
            return Match((joint, place), (rest, power))
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    joint, place = (w.value(each) for each in found.takes)
    assert isinstance(node, Map)

    def digit(codes: list[Code]) -> Code:
        shifted = binary(SUM, codes[0], (">>", codes[1]))
        return binary(AND, replace(shifted, level=OR), ("&", number(1)))

    return joined(node, [joint, place], digit)


ENTRY = Implementation(name="binary_digit", match=match, write=write)
