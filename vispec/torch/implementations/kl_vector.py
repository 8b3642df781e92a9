"""Σ_d KL(N(loc_d, scale_d²) ‖ N(0, 1)) of vectors over the same axes: one operation with a gradient of its own."""

from vispec.program.node import Call, Node, Part, Reduce
from vispec.torch.nodes.along import at_end
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.laws import lead_dims, with_events
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value, aligned

ELEMENTWISE = "vispec.kernels.draws.kl:kl_normal_standard"


def match(node: Node) -> Match | None:
    match node:
        case Reduce("sum", Part(Call("kernel", name, given) as source) as each, (axis,)) if name == ELEMENTWISE:
            takes = tuple(param for param, _, _ in given)
            alike = len({param.axes for param in takes}) == 1 and axis in takes[0].axes
            return Match(takes, (each, source), axis) if alike else None
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    own = (found.told,)
    values = [at_end(with_events(w, each, own), own) for each in found.takes]
    dims = lead_dims([(value, own) for value in values])
    codes = [aligned(value, (*dims, *own)) for value in values]
    return Value(call(w.kernel("draws.kl", "kl_normal_standard_vector"), *codes), dims)


ENTRY = Implementation(name="kl_vector", match=match, write=write)
