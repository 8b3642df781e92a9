"""log_softmax(net(...))[token]: what a net gives over a vocabulary, read at tokens of its own rows: some of these at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vispec.program.axis import Axis
from vispec.program.node import Call, Link, Node, Part, Pick

SMOOTHED = "vispec.kernels.sums.smoothed:smoothed_log_prob"


@dataclass(frozen=True)
class AtTokens:
    """net: the call, which gives `logits`, of which `law` are the log-probabilities. value: the tokens. smoothing: how much all
    outcomes together weigh, where labels are smoothed; then `call` computes the result."""

    net: Call
    logits: Part
    law: Link
    value: Node
    call: tuple[Call, ...] = ()

    @property
    def smoothing(self) -> Node | None:
        return next((value for each in self.call for name, value in each.settings if name == "smoothing"), None)


def at_tokens(node: Node) -> AtTokens | None:
    """What is read so, if a node is that."""
    match node:
        case Pick(Link() as law, ((axis, value),)):
            return _of(law, axis, value, ())
        case Part(Call("kernel", name, ((Link() as law, (axis,), _), (value, _, _))) as call) if name == SMOOTHED:
            return _of(law, axis, value, (call,))
    return None


def _of(law: Link, axis: Axis, value: Node, call: tuple[Call, ...]) -> AtTokens | None:
    match law:
        case Link("log_softmax", Part(Call("net") as net) as logits, (over,)) if axis is over:
            own = value.axes and over not in value.axes and value.axes <= {*net.shared, *rows_of(net)}
            return AtTokens(net, logits, law, value, call) if own and "vocabulary" in dict(net.settings) else None
    return None


def rows_of(net: Call) -> tuple[Axis, ...]:
    """The axes of a net's one result before the vocabulary's."""
    return net.results[0][0][:-1]


def never_whole(found: Iterable[Node]) -> set[Node]:
    """Those among nodes that nothing else reads: logits and log-probabilities that are made in pieces."""
    found = list(found)
    reads = [each for each in map(at_tokens, found) if each is not None]
    pieces: set[Node] = {node for each in reads for node in (each.law, each.logits, *each.call)}
    others = [node for node in found if node not in pieces and at_tokens(node) is None]
    return pieces - {arg for node in others for arg in node.args}
