"""log P(bit) from log-odds that a net gives, so that they are finite, with all axes of the result: torch's fused loss."""

from vispec.program.cost import Numbers
from vispec.program.node import Call, Map, Node, Part, Reduce
from vispec.torch.implementations import bernoulli_logits
from vispec.torch.nodes.along import places
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call, method, text, unary
from vispec.torch.text.layout import Value, aligned


def match(node: Node) -> Match | None:
    if isinstance(node, Reduce) and node.op == "sum" and isinstance(node.arg, Map):
        inner = match(node.arg)
        return inner and Match(inner.takes, (node.arg, *inner.covers), node.over)
    found = bernoulli_logits.match(node)
    if found is None:
        return None
    logit = found.takes[1]
    of_net = isinstance(logit, Part) and isinstance(logit.source, Call) and logit.source.kind == "net"
    return Match(found.takes, found.covers, ()) if of_net and logit.axes == node.axes else None


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    return numbers.elements(found.takes[1].axes) // 2


def write(w: Writer, node: Node, found: Match) -> Value:
    bit, logit = (w.tensor(w.real(w.value(each))) for each in found.takes)
    seen = aligned(bit, logit.dims)
    if bit.dims != logit.dims:
        seen = method(seen, "expand_as", logit.code)
    loss = call(w.functional("binary_cross_entropy_with_logits"), logit.code, seen, reduction=text('"none"'))
    if found.told:
        loss = method(loss, "sum", places(logit, found.told))
    return Value(unary("-", loss), tuple(axis for axis in logit.dims if axis not in found.told))


ENTRY = Implementation(name="bernoulli_of_net", match=match, write=write, cost=cost)
