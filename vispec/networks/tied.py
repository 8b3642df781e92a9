"""tied(E): the output layer, whose weights are the rows of a table that nets share, with a bias of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network, Option

if TYPE_CHECKING:
    from vispec.model.model import Embedding
    from vispec.torch.nets.stream import Stream


def tied(stream: Stream, table: Embedding) -> None:
    """What arrives in another width than the table's goes through a linear layer first."""
    x = stream.flatten()
    if x.width != table.width:
        stream.cost(x.width, table.width, timed=x.timed)
        stream.parts = [stream.through(stream.module(stream.affine(x.width, table.width)), x, table.width)]
    stream.net.last = f"{stream.kernel('tables', 'Tied')}({stream.net.taken_table(table.name)})"


ENTRY = Network("tied", tied, {"table": Option("table", required=True)}, outputs=True)
