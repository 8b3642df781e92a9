"""log(1 - p) of a probability that may be exactly 1, where its gradient is 0."""

from vispec.program.facts import moving
from vispec.program.node import Map, Node
from vispec.torch.nodes.elementwise import joined
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value


def match(node: Node) -> Match | None:
    match node:
        case Map("log1p", (Map("neg", (p,)) as minus,)) if moving(p):
            return Match((p,), (minus,))
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    assert isinstance(node, Map)
    value = w.tensor(w.real(w.value(found.takes[0])))
    return joined(node, [value], lambda codes: call(w.kernel("probability", "log_of_rest"), *codes))


ENTRY = Implementation(name="log_of_rest", match=match, write=write)
