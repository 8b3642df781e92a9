"""transformer(embed, heads, layers, hidden, dropout): states that read the whole sequence, or a causal net's past."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network, Option
from vispec.networks.embed import embed as look_up
from vispec.networks.embed import width_of

if TYPE_CHECKING:
    from vispec.model.model import Embedding
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Stream


def transformer(stream: Stream, embed: Dim | Embedding, heads: int, layers: int, hidden: Dim | None, dropout: float) -> None:
    """Everything is brought to width `embed` and added up before the first layer; hidden is 4 · embed by default."""
    look_up(stream, embed)
    embed = width_of(embed)
    stream.start()
    add_up(stream, embed)
    hidden = stream.product(4, embed) if hidden is None else hidden
    name = stream.kernel("attention", "Transformer")
    settings = (f", dropout={dropout}" if dropout else "") + (", causal=True" if stream.causal else "")
    module = stream.module(f"{name}({embed}, {heads}, {layers}, {hidden}{settings})")
    mask = "" if stream.causal or stream.mask == "None" else f", {stream.mask}"
    length = "S" if stream.suffix else "T"
    stream.cost(layers, stream.sum(stream.product(4, embed, embed), stream.product(2, embed, hidden)), timed=True)
    stream.cost(2, layers, embed, length, timed=True)
    if stream.next:
        told = ", ".join([module, stream.parts[0].text, *stream.kept(module)])
        stream.set(f"{stream.kernel('steps', 'transformer_next')}({told})", embed)
    else:
        stream.set(f"{module}({stream.parts[0].text}{mask})", embed)


def divides(position: int, embed: Dim | Embedding, heads: int, **_: object) -> str | None:
    """Each head has an equal share of the width."""
    embed = width_of(embed)
    odd = isinstance(embed, int) and embed % heads
    return f"`embed` of `transformer`, {embed}, does not divide among {heads} heads" if odd else None


def add_up(stream: Stream, width: Dim) -> None:
    """The sum of all parts, those of another width through a linear layer each."""
    terms = []
    for i, part in enumerate(stream.parts):
        vector = stream.vector(part)
        if vector.width != width or (len(stream.parts) > 1 and not vector.sequence):
            layer = stream.module(stream.linear_text(vector, width), f"from_{part.arg or stream.layer}", ("in", i))
            vector = stream.through(layer, vector, width)
        terms.append(stream.beside(vector, stream.timed))
    stream.set(" + ".join(terms), width)


ENTRY = Network(
    "transformer",
    transformer,
    {
        "embed": Option("embedding", required=True),
        "heads": Option("count", default=4),
        "layers": Option("count", default=2),
        "hidden": Option("size"),
        "dropout": Option("fraction", default=0.0),
    },
    sequence="sequence",
    ordered=True,
    steps=True,
    problem=divides,
)
