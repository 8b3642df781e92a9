"""gru(hidden, embed, layers, bidirectional, dropout, init): the states of a gated recurrent unit that reads the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network
from vispec.networks.lstm import OPTIONS, recurrent

if TYPE_CHECKING:
    from vispec.model.model import Embedding
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Stream


def gru(
    stream: Stream,
    hidden: Dim,
    embed: Dim | Embedding | None,
    layers: int,
    bidirectional: bool,
    dropout: float,
    init: str | None,
) -> None:
    """init: the argument from which the first state is projected; the others are read with each element."""
    recurrent(stream, "GRU", hidden, embed, layers, bidirectional, dropout, init)


ENTRY = Network("gru", gru, OPTIONS, sequence="sequence", ordered=True, causal="bidirectional", steps=True)
