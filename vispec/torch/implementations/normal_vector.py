"""Σ_d log N(x_d; loc_d, scale_d²) of vectors: one operation with a gradient of its own."""

from vispec.program.node import Const, Density, Node, Reduce
from vispec.torch.nodes.along import at_end
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.laws import with_events
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value, aligned, merged


def match(node: Node) -> Match | None:
    match node:
        case Reduce("sum", Density("Normal", value, params, ()) as law, (axis,)) if axis in value.axes:
            return Match((value, *(param for _, param, _ in params)), (law,), axis)
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    value, *params = (w.value(each) for each in found.takes)
    axis = found.told
    value = at_end(with_events(w, found.takes[0], [axis]), [axis])
    params = [at_end(each, [axis]) if axis in each.dims else each for each in (w.tensor(w.real(each)) for each in params)]
    dims = merged(tuple(a for a in each.dims if a is not axis) for each in (value, *params))
    if [each.value for each in found.takes[1:] if isinstance(each, Const)] == [0, 1]:
        return Value(call(w.kernel("vectors", "standard_normal_vector_log_prob"), value.code), dims)
    codes = [aligned(each, (*dims, axis)) for each in (value, *params)]
    return Value(call(w.kernel("vectors", "normal_vector_log_prob"), *codes), dims)


ENTRY = Implementation(name="normal_vector", match=match, write=write)
