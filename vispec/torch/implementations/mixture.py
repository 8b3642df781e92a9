"""A mixture of densities that are the entries of a product of matrices: responsibilities and gradient in one operation."""

from vispec.program.node import Map, Node, Reduce
from vispec.torch.implementations import linear
from vispec.torch.nodes.along import at_end
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value


def match(node: Node) -> Match | None:
    """Of components that are the columns of a product with something added for each, and nothing else."""
    match node:
        case Reduce("log_sum_exp", Map("add") as joint, (component,)) if (found := linear.match(joint)) is not None:
            _, weight, *added = found.takes
            axis, count = found.told
            if len(added) == count and weight.axes == {axis, component}:
                return Match(found.takes, (joint, *found.covers), axis)
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    rows, weight, *added = (w.tensor(w.real(w.value(each))) for each in found.takes)
    (component,) = found.takes[1].axes - {found.told}
    rows, weight = at_end(rows, [found.told]), w.full(weight, (component, found.told))
    added = [w.full(each, (component,)) for each in added]
    const = linear.added([each.code for each in added])
    return Value(call(w.kernel("sums.mixture", "mixture_log_prob"), const, weight.code, rows.code), rows.dims[:-1])


ENTRY = Implementation(name="mixture", match=match, write=write)
