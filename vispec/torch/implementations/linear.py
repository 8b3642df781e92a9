"""A product of matrices with something added for each column: F.linear."""

from collections.abc import Sequence

from vispec.program.node import Contract, Map, Node
from vispec.torch.nodes.along import at_end, contracted
from vispec.torch.nodes.elementwise import joined
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import SUM, Code, binary, call, negated
from vispec.torch.text.layout import Value


def match(node: Node) -> Match | None:
    """It takes rows, weights, and what is added; told: the product's one axis, and how much is added for each column."""
    if not isinstance(node, Map) or node.op != "add":
        return None
    for product in node.operands:
        if not isinstance(product, Contract) or len(product.factors) != 2 or len(product.over) != 1:
            continue
        for rows, weight in (product.factors, product.factors[::-1]):
            column = weight.axes - {*product.over}
            added = [each for each in node.operands if each.axes == column]
            if len(column) == 1 and not column & rows.axes and rows.axes > {*product.over} and added:
                others = [each for each in node.operands if each is not product and each not in added]
                return Match((rows, weight, *added, *others), (product,), (product.over[0], len(added)))
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    assert isinstance(node, Map)
    (axis, count), values = found.told, [w.tensor(w.real(w.value(each))) for each in found.takes]
    if any(len(value.dims) < len(each.axes) for value, each in zip(values, found.takes, strict=True)):
        (product,) = found.covers  # what is the same along an axis is written without it
        assert isinstance(product, Contract)
        return joined(node, [contracted(w, product), *values[2:]], added)
    rows, weight = (at_end(each, [axis]) for each in values[:2])
    const = added([each.code for each in values[2 : 2 + count]])
    product = Value(call(w.functional("linear"), rows.code, weight.code, const), (*rows.dims[:-1], weight.dims[0]))
    return joined(node, [product, *values[2 + count :]], added)


def added(codes: Sequence[Code]) -> Code:
    """A sum, of negatives as differences."""
    first, *rest = codes
    return binary(SUM, first, *(("+", code) if (minus := negated(code)) is None else ("-", minus) for code in rest))


ENTRY = Implementation(name="linear", match=match, write=write)
