"""loc + ... + scale · noise where loc has a number for each number of noise: noise like loc."""

from vispec.program.cost import Numbers
from vispec.program.node import Map, Node, Noise, Scalar
from vispec.program.walk import nodes
from vispec.torch.implementations.linear import added
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import TERM, binary, call
from vispec.torch.text.layout import Value, aligned

LIKE = {"normal": "torch.randn_like", "uniform": "torch.rand_like"}


def match(node: Node) -> Match | None:
    match node:
        case Map("add", operands):
            for product in operands:
                scale, noise = scaled(product)
                others = [each for each in operands if each is not product]
                if not noise or noise.axes != node.axes:  # the same for all along further axes of the sum: drawn before it
                    continue
                like = next((at for at, each in enumerate(others) if each.axes == noise.axes and not is_told(each)), None)
                if scale and like is not None and scale.axes <= noise.axes and {o.dtype for o in others} == {"real"}:
                    first = others.pop(like)
                    return Match((first, *others, scale), (product, noise), noise.law)
    return None


def is_told(node: Node) -> bool:
    """Whether it is written as a number of Python, which no noise can be like."""
    return all(isinstance(each, Scalar | Map) for each in nodes([node]))


def scaled(product: Node) -> tuple[Node | None, Noise | None]:
    """A scale and the noise that it is of."""
    match product:
        case Map("mul", (scale, Noise() as noise)) | Map("mul", (Noise() as noise, scale)):
            return (scale, noise) if noise.law in LIKE and scale.dtype == "real" else (None, None)
    return None, None


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    return numbers.elements(node.axes) // 2


def write(w: Writer, node: Node, found: Match) -> Value:
    loc, *others, scale = map(w.value, found.takes)
    loc = w.full(loc, loc.dims + tuple(axis for axis in node.axes if axis not in loc.dims)) if {*loc.dims} != node.axes else loc
    noise = call(LIKE[found.told], loc.code)
    product = binary(TERM, aligned(scale, loc.dims), ("*", noise))
    return Value(added([loc.code, *(aligned(each, loc.dims) for each in others), product]), loc.dims)


ENTRY = Implementation(name="noise_like", match=match, write=write, cost=cost)
