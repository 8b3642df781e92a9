"""log P(bit) where its probability is computed, so that it may be exactly 0 or 1: one logarithm, of the one that is seen."""

from vispec.program.node import Map, Node
from vispec.torch.implementations.bernoulli_logits import bit_of
from vispec.torch.nodes.elementwise import joined
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value


def match(node: Node) -> Match | None:
    match node:
        case Map("where", (test, Map("log", (p,)) as one, Map("log1p", (Map("neg", (q,)) as minus,)) as zero)) if p is q:
            return Match((bit_of(test), p), (one, zero, minus))
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    bit, p = (w.tensor(w.real(w.value(each))) for each in found.takes)
    assert isinstance(node, Map)
    return joined(node, [bit, p], lambda codes: call(w.kernel("probability", "bit_log_prob"), *codes))


ENTRY = Implementation(name="bit", match=match, write=write)
