"""linear(size): one affine layer, no activation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network, Option

if TYPE_CHECKING:
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Stream


def linear(stream: Stream, size: Dim) -> None:
    """All parts to `size` numbers; several inputs are added up behind a layer each."""
    first, text = stream.linear(size)
    stream.set(f"{stream.module(first)}({text})" if first else f"({text})", size)


ENTRY = Network("linear", linear, {"size": Option("size", required=True)}, linear=True)
