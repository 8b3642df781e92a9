"""transformer(embed, heads, layers, hidden, dropout, attend): states that read the whole sequence, or a causal net's past.

With `attend`, each of its layers looks things up in the net's last sequence, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network, Option
from vispec.networks.embed import embed as look_up
from vispec.networks.embed import width_of

if TYPE_CHECKING:
    from vispec.model.model import Embedding
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Stream


def transformer(
    stream: Stream, embed: Dim | Embedding, heads: int, layers: int, hidden: Dim | None, dropout: float, attend: bool
) -> None:
    """Everything is brought to width `embed` and added up before the first layer; hidden is 4 · embed by default."""
    look_up(stream, embed)
    embed = width_of(embed)
    stream.start()
    add_up(stream, embed)
    hidden = stream.product(4, embed) if hidden is None else hidden
    length = "S" if stream.suffix else "T"
    stream.cost(layers, stream.sum(stream.product(4, embed, embed), stream.product(2, embed, hidden)), timed=True)
    stream.cost(2, layers, embed, length, timed=True)
    memory = read_memory(stream, stream.memory, embed, layers) if attend else None
    settings = (f", dropout={dropout}" if dropout else "") + (", causal=True" if stream.causal else "")
    sizes = f"{embed}, {heads}, {layers}, {hidden}" + (f", {memory[1]}" if memory else "")
    name = stream.kernel("cross", "CrossTransformer") if memory else stream.kernel("attention", "Transformer")
    module = stream.module(f"{name}({sizes}{settings})")
    read = [stream.parts[0].text, *(memory[0] if memory else ())]
    if stream.next:
        function = stream.kernel("steps", "cross_transformer_next" if memory else "transformer_next")
        stream.set(f"{function}({', '.join([module, *read, *stream.kept(module)])})", embed)
    else:
        masks = [] if stream.causal or stream.mask == "None" else [stream.mask]
        stream.set(f"{module}({', '.join([*read, *masks])})", embed)


def read_memory(stream: Stream, memory: Stream | None, embed: Dim, layers: int) -> tuple[tuple[str, str], Dim]:
    """Texts of the memory and of its mask, and its width."""
    assert memory is not None  # the checks of nets and of their calls have seen to it
    x = memory.flatten()
    stream.cost(2, layers, embed, stream.sum(embed, "S"), timed=True)
    memory.cost(2, layers, embed, x.width, timed=True)
    return (x.text, memory.mask), x.width


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
        "attend": Option("flag", default=False),
    },
    sequence="sequence",
    ordered=True,
    memory="attend",
    steps=True,
    problem=divides,
)
