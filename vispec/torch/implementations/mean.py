"""A sum over axes of known size, divided by how many elements they have: the mean."""

from math import prod

from vispec.program.node import Const, Map, Node, Reduce
from vispec.torch.nodes.along import covering, places
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import method
from vispec.torch.text.layout import Value


def match(node: Node) -> Match | None:
    match node:
        case Map("div", (Reduce("sum", arg, over) as total, Const(count))) if arg.dtype == "real":
            sizes = [None if axis.origin.size is None else axis.origin.size.number for axis in over]
            known = [size for size in sizes if size is not None]
            return Match((arg,), (total,), over) if len(known) == len(sizes) and prod(known) == count else None
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    value = covering(w, found.takes[0], found.told)
    kept = tuple(axis for axis in value.dims if axis not in found.told)
    return Value(method(value.code, "mean", places(value, found.told)), kept)


ENTRY = Implementation(name="mean", match=match, write=write)
