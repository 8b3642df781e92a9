"""A chain whose elements show tokens: their table is exponentiated once, not each column of it that is read."""

from vispec.program.node import Call, Node, Part, Pick
from vispec.torch.nodes.along import at_end
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.laws import lead_dims, with_events
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import call
from vispec.torch.text.layout import Value, aligned

CHAIN = "vispec.kernels.sums.chain:chain_log_prob"


def match(node: Node) -> Match | None:
    """told: own axes of what it takes; the table is the third."""
    whole = node.source if isinstance(node, Part) else None
    if not isinstance(whole, Call) or whole.kind != "kernel" or whole.name != CHAIN:
        return None
    (init, init_axes, _), (step, step_axes, _), (seen, (time, state), _), *lengths = whole.given
    match seen:
        case Pick(table, ((axis, tokens),)) if table.axes == {axis, state} and time in tokens.axes and state not in tokens.axes:
            own = (init_axes, step_axes, (state, axis), (time,), *(() for _ in lengths))
            return Match((init, step, table, tokens, *(each for each, _, _ in lengths)), (whole, seen), own)
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    values = [with_events(w, each, own) for each, own in zip(found.takes, found.told, strict=True)]
    dims = lead_dims(list(zip(values, found.told, strict=True)))
    codes = [aligned(each, (*dims, *own)) for each, own in zip(values, found.told, strict=True)]
    codes[2] = at_end(values[2], found.told[2]).code
    return Value(call(w.kernel("sums.chain", "chain_log_prob_of_tokens"), *codes), dims)


ENTRY = Implementation(name="chain_of_tokens", match=match, write=write)
