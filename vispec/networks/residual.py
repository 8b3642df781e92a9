"""residual(size, activation=relu): x + linear(activation(linear(x))), with `size` hidden numbers, x's width by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network, Option
from vispec.networks.mlp import ACTIVATION, ACTIVATIONS

if TYPE_CHECKING:
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Stream


def residual(stream: Stream, size: Dim | None, activation: str) -> None:
    """Keeps the width."""
    x = stream.held(stream.flatten(), limit=0)
    hidden = x.width if size is None else size
    stream.cost(2, x.width, hidden, timed=x.timed)
    layers = f"{stream.affine(x.width, hidden)}, {ACTIVATIONS[activation]}, {stream.affine(hidden, x.width)}"
    module = stream.module(f"nn.Sequential({layers})")
    stream.set(f"({x.text} + {module}({x.text}))", x.width)


ENTRY = Network("residual", residual, {"size": Option("size"), "activation": ACTIVATION})
