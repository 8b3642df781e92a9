"""embed(size): a vector for each token, category or index; arguments over the same values share one table.

`embed(E)` looks up those over the values of `embedding E` in that table, which nets share; others stay as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import Network, Option

if TYPE_CHECKING:
    from vispec.model.model import Embedding
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Part, Stream


def embed(stream: Stream, size: Dim | Embedding) -> None:
    """Replace integers by vectors; numbers stay beside them."""
    if not isinstance(size, int | str):
        stream.parts = [read_table(stream, part, size) if part.card == size.rows else part for part in stream.parts]
        return
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


def read_table(stream: Stream, part: Part, table: Embedding) -> Part:
    shape = (*part.shape, table.width) if part.shape else ()
    text = f"{stream.net.table(table.name)}({part.text})"
    return stream.vector(replace(part, text=text, width=table.width, card=None, shape=shape))


def width_of(size: Dim | Embedding) -> Dim:
    """How many numbers its vectors have."""
    return size if isinstance(size, int | str) else size.width


ENTRY = Network("embed", embed, {"size": Option("embedding", required=True)}, embeds=True, linear=True)
