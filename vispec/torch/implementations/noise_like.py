"""loc + scale · noise where loc has a number for each number of noise: noise like loc."""

from vispec.program.cost import Numbers
from vispec.program.node import Map, Node, Noise
from vispec.torch.code import SUM, TERM, binary, call
from vispec.torch.implementation import Implementation, Match
from vispec.torch.layout import Value, aligned
from vispec.torch.writer import Writer

LIKE = {"normal": "torch.randn_like", "uniform": "torch.rand_like"}


def match(node: Node) -> Match | None:
    match node:
        case Map("add", (loc, Map("mul", (scale, Noise(_, law) as noise)) as product)) | Map(
            "add", (loc, Map("mul", (Noise(_, law) as noise, scale)) as product)
        ) if law in LIKE and loc.axes == noise.axes and scale.axes <= loc.axes and scale.dtype == loc.dtype == "real":
            return Match((loc, scale), (product, noise), law)
    return None


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    return 0.5 * numbers.elements(node.axes)


def write(w: Writer, node: Node, found: Match) -> Value:
    loc, scale = map(w.value, found.takes)
    loc = w.full(loc, loc.dims + tuple(axis for axis in node.axes if axis not in loc.dims)) if {*loc.dims} != node.axes else loc
    noise = call(LIKE[found.told], loc.code)
    return Value(binary(SUM, loc.code, ("+", binary(TERM, aligned(scale, loc.dims), ("*", noise)))), loc.dims)


ENTRY = Implementation(name="noise_like", match=match, write=write, cost=cost)
