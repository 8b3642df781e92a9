"""log P(bit) from log-odds that a net gives, so that they are finite, where they have all axes of the result: torch's fused loss."""

from vispec.program.cost import Numbers
from vispec.program.node import Call, Node, Part
from vispec.torch.code import Code, call, method, text, unary
from vispec.torch.implementation import Implementation, Match
from vispec.torch.implementations import bernoulli_logits
from vispec.torch.layout import Value, aligned
from vispec.torch.writer import Writer


def match(node: Node) -> Match | None:
    found = bernoulli_logits.match(node)
    if found is None:
        return None
    logit = found.takes[1]
    of_net = isinstance(logit, Part) and isinstance(logit.source, Call) and logit.source.kind == "net"
    return found if of_net and logit.axes == node.axes else None


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    return 0.5 * numbers.elements(node.axes)


def write(w: Writer, node: Node, found: Match) -> Value:
    bit, logit = (w.tensor(w.real(w.value(each))) for each in found.takes)
    seen = aligned(bit, logit.dims)
    if bit.dims != logit.dims:
        seen = method(seen, "expand_as", logit.code)
    loss = call(w.functional("binary_cross_entropy_with_logits"), logit.code, seen, reduction=text('"none"'))
    return Value(unary("-", loss), logit.dims)


ENTRY = Implementation(name="bernoulli_of_net", match=match, write=write, cost=cost)
assert Code
