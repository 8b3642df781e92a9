"""log P(bit) from log-odds: log sigmoid of the odds for what is seen, one operation for the two that a choice would make."""

from vispec.distributions.discrete.bernoulli import bernoulli_log_prob
from vispec.program.node import Map, Node
from vispec.torch.nodes.elementwise import joined
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.laws import source_of
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value


def bit_of(test: Node) -> Node:
    """The bit that a test asks for, as a number where it is one."""
    return test.operands[0] if isinstance(test, Map) and test.op == "bool" else test


def logit_of(then: Node, otherwise: Node) -> tuple[Node, tuple[Node, ...]] | None:
    """The log-odds of which the branches are log p and log(1 - p), and what stands between."""
    match then, otherwise:
        case Map("log_sigmoid", (x,)), Map("log_sigmoid", (Map("neg", (y,)) as minus,)) if x is y:
            return x, (then, otherwise, minus)
        case Map("log_sigmoid", (Map("neg", (x,)) as minus,)), Map("log_sigmoid", (y,)) if x is y:
            return minus, (then, otherwise)
    return None


def match(node: Node) -> Match | None:
    match node:
        case Map("where", (test, then, otherwise)) if (found := logit_of(then, otherwise)) is not None:
            return Match((bit_of(test), found[0]), found[1])
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    bit, logit = (w.tensor(w.real(w.value(each))) for each in found.takes)
    assert isinstance(node, Map)
    return joined(node, [bit, logit], lambda codes: call(source_of(bernoulli_log_prob), *codes))


ENTRY = Implementation(name="bernoulli_logits", match=match, write=write)
