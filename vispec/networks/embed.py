"""embed(size): a vector for each token, category or index; arguments over the same values share one table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import Network, Option

if TYPE_CHECKING:
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Part, Stream


def embed(stream: Stream, size: Dim) -> None:
    """Replace integers by vectors; numbers stay beside them."""
    tables = {part.card for part in stream.parts if part.card is not None}
    stream.parts = [look_up(stream, part, size, len(tables) > 1) for part in stream.parts]


def look_up(stream: Stream, part: Part, size: Dim, several: bool) -> Part:
    if part.card is None:
        return part
    hint = f"embed_{part.arg}" if several or stream.suffix else "embed"
    owner = (stream.position, "embed", part.card)
    table = stream.net.attribute(owner, hint, f"nn.Embedding({part.card}, {size})")
    shape = (*part.shape, size) if part.shape else ()
    return stream.vector(replace(part, text=f"{table}({part.text})", width=size, card=None, shape=shape))


ENTRY = Network("embed", embed, {"size": Option("size", required=True)}, embeds=True, linear=True)
