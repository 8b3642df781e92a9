"""lstm(hidden, embed, layers, bidirectional, dropout, init): the states of a long short-term memory that reads the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network, Option
from vispec.networks.embed import embed as look_up

if TYPE_CHECKING:
    from vispec.model.model import Embedding
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Stream

OPTIONS = {
    "hidden": Option("size", required=True),
    "embed": Option("embedding"),
    "layers": Option("count", default=1),
    "bidirectional": Option("flag", default=False),
    "dropout": Option("fraction", default=0.0),
    "init": Option("argument"),
}


def lstm(
    stream: Stream,
    hidden: Dim,
    embed: Dim | Embedding | None,
    layers: int,
    bidirectional: bool,
    dropout: float,
    init: str | None,
) -> None:
    """init: the argument from which the first states are projected; the others are read with each element."""
    recurrent(stream, "LSTM", hidden, embed, layers, bidirectional, dropout, init)


def recurrent(
    stream: Stream,
    mode: str,
    hidden: Dim,
    embed: Dim | Embedding | None,
    layers: int,
    bidirectional: bool,
    dropout: float,
    init: str | None,
) -> None:
    if embed is not None:
        look_up(stream, embed)
    before = [part for part in stream.parts if init and part.arg == init]
    stream.parts = [part for part in stream.parts if part not in before]
    stream.start()
    x = stream.flatten()
    gates, kept = (4, 2) if mode == "LSTM" else (3, 1)
    several = "" if layers == 1 else f", {layers}" + (f", dropout={dropout}" if dropout else "")
    if bidirectional:
        name = stream.kernel("recurrent", "Bidirectional")
        module = stream.module(f'{name}("{mode}", {x.width}, {hidden}{several})')
    else:
        name = stream.kernel("recurrent", "Recurrent")
        module = stream.module(f'{name}("{mode}", {x.width}, {hidden}{several}, batch_first=True)')
    arguments = [x.text, *([stream.mask] if bidirectional and stream.mask != "None" else [])]
    for part in before:
        size = stream.product(kept * (2 if bidirectional else 1) * layers, hidden)
        vector = part if part.card is not None and not part.shape else stream.vector(part)
        layer = stream.module(stream.linear_text(vector, size), "init", "init")
        first = "[..., 0, :]" if part.stepped else ""  # it is the same all along a prefix
        lazy = "lambda: " if stream.next else ""
        arguments.append(f"{'init=' if bidirectional else ''}{lazy}{layer}({vector.text}){first}")
    width = stream.product(2, hidden) if bidirectional else hidden
    stream.cost(gates, stream.sum(x.width, hidden), width, timed=True)
    for _ in range(layers - 1):
        stream.cost(gates, stream.sum(width, hidden), width, timed=True)
    if stream.next:
        told = ", ".join([module, x.text, *stream.kept(module), *arguments[1:]])
        text = f"{stream.kernel('steps', 'recurrent_next')}({told})"
    else:
        text = f"{module}({', '.join(arguments)})"
    stream.set(text, width, two_way=bidirectional)


ENTRY = Network("lstm", lstm, OPTIONS, sequence="sequence", ordered=True, causal="bidirectional", steps=True)
