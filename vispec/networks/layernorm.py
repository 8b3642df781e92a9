"""layernorm: each vector to mean 0 and variance 1, then a learned scale and shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network

if TYPE_CHECKING:
    from vispec.torch.nets.stream import Stream


def layernorm(stream: Stream) -> None:
    """Over the last axis."""
    x = stream.flatten()
    stream.parts = [stream.through(stream.module(f"nn.LayerNorm({x.width})"), x, x.width)]


ENTRY = Network("layernorm", layernorm)
