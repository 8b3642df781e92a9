"""dropout(p): each number is zeroed with probability p while training, the others grow by 1 / (1 - p)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network, Option

if TYPE_CHECKING:
    from vispec.torch.nets.stream import Stream


def dropout(stream: Stream, p: float) -> None:
    """Whatever stands there, in its own shape."""
    x = stream.flatten()
    stream.parts = [stream.through(stream.module(f"nn.Dropout({p})"), x, x.width)]


ENTRY = Network("dropout", dropout, {"p": Option("fraction", default=0.5)})
