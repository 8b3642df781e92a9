"""A chain whose elements show tokens: their table is exponentiated once, not each column of it that is read."""

from vispec.program.node import Call, Node, Part, Pick
from vispec.torch.along import at_end
from vispec.torch.code import call
from vispec.torch.implementation import Implementation, Match
from vispec.torch.laws import lead_dims, with_events
from vispec.torch.layout import Value, aligned
from vispec.torch.writer import Writer

CHAIN = "vispec.kernels.sums.chain:chain_log_prob"


def match(node: Node) -> Match | None:
    match node:
        case Part(
            Call("kernel", name, (init, step, (Pick(table, ((axis, tokens),)) as seen, (time, state), ""), *lengths)) as whole
        ):
            plain = name == CHAIN and table.axes == {axis, state} and time in tokens.axes and state not in tokens.axes
            length = tuple(each[0] for each in lengths)
            return Match((init[0], step[0], table, tokens, *length), (whole, seen), (init[1], step[1], axis)) if plain else None
    return None


def write(w: Writer, node: Node, found: Match) -> Value:
    assert isinstance(node, Part) and isinstance(node.source, Call)
    *_, (_, (time, state), _) = node.source.given[:3]
    init_axes, step_axes, axis = found.told
    own = [init_axes, step_axes, (state, axis), (time,), *(() for _ in found.takes[4:])]
    values = [with_events(w, each, axes) for each, axes in zip(found.takes, own, strict=True)]
    dims = lead_dims(list(zip(values, own, strict=True)))
    codes = [
        at_end(each, axes).code if at == 2 else aligned(each, (*dims, *axes))
        for at, (each, axes) in enumerate(zip(values, own, strict=True))
    ]
    return Value(call(w.kernel("sums.chain", "chain_log_prob_of_tokens"), *codes), dims)


ENTRY = Implementation(name="chain_of_tokens", match=match, write=write)
