"""A mixture of vectors of normal numbers: one operation of data and parameters."""

from vispec.program.cost import Numbers
from vispec.program.node import Call, Node, Part
from vispec.torch.implementations import linear, mixture
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value


def match(node: Node) -> Match | None:
    """Where const, weight and statistics of the product are those that normal laws have."""
    found = mixture.match(node)
    if found is None:
        return None
    statistics, weight, *added = found.takes
    match statistics:
        case Part(Call("kernel", "vispec.kernels.sums.mixture:normal_natural") as natural):
            parts = [Part(natural, at) for at in range(3)]
            if statistics is parts[2] and weight is parts[1] and parts[0] in added and len(added) > 1:
                others = [each for each in added if each is not parts[0]]
                takes = (*(node for node, _, _ in natural.given), *others)
                return Match(takes, (*found.covers, *parts, natural), natural)
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    (_, rows, _), (_, (component, _), _), _ = found.told.given
    x, *params = (w.full(w.tensor(w.real(w.value(each))), own).code for each, own, _ in found.told.given)
    weights = linear.added([w.full(w.tensor(w.real(w.value(each))), (component,)).code for each in found.takes[3:]])
    return Value(call(w.kernel("sums.mixture", "normal_mixture"), x, weights, *params), rows[:-1])


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    """Log-densities and statistics are made some rows at a time."""
    return numbers.elements(node.axes)


ENTRY = Implementation(name="normal_mixture", match=match, write=write, cost=cost)
