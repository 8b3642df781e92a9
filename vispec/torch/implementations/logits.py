"""log_softmax(logits)[value], one value for each row of logits: torch's fused loss, without the table of log-probabilities."""

from vispec.program.cost import Numbers
from vispec.program.node import Link, Node, Pick
from vispec.torch.nodes.along import at_end
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.laws import with_events
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value, aligned


def match(node: Node) -> Match | None:
    match node:
        case Pick(Link("log_softmax", logits, (over,)) as link, ((axis, value),)) if axis is over and over not in value.axes:
            return Match((logits, value), (link,), over) if value.axes <= logits.axes - {over} and value.axes else None
    return None


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    return numbers.elements(found.takes[0].axes) // 2


def write(w: Writer, node: Node, found: Match) -> Value:
    axis = found.told
    logits = at_end(with_events(w, found.takes[0], [axis]), [axis])
    missing = [each for each in w.value(found.takes[1]).dims if each not in logits.dims]
    logits = w.full(logits, (*missing, *logits.dims)) if missing else logits
    value = aligned(w.value(found.takes[1]), logits.dims[:-1])
    return Value(call(w.kernel("sums.selected", "logits_log_prob"), logits.code, value), logits.dims[:-1])


ENTRY = Implementation(name="logits", match=match, write=write, cost=cost)
