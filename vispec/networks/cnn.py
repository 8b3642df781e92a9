"""cnn([channels], kernel, stride, activation): convolutions over images, flattened at the end, or over sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network, Option
from vispec.networks.mlp import ACTIVATION, ACTIVATIONS

if TYPE_CHECKING:
    from vispec.emit.net_stream import Part, Stream
    from vispec.model.types import Dim


def cnn(stream: Stream, channels: tuple[Dim, ...], kernel: int, stride: int | None, activation: str) -> None:
    """Each layer followed by the activation. Images (C, H, W) or (H, W) shrink by `stride`, 2 by default; sequences never do."""
    images = [part for part in stream.parts if len(part.shape) > 1 and part.card is None]
    if images:
        stream.parts = [
            picture(stream, part, channels, kernel, 2 if stride is None else stride, activation) if part in images else part
            for part in stream.parts
        ]
    else:
        convolve(stream, channels, kernel, activation)


def picture(stream: Stream, part: Part, channels: tuple[Dim, ...], kernel: int, stride: int, activation: str) -> Part:
    """One image argument as a vector."""
    *depth, height, width = part.shape
    text = part.text if depth else f"{part.text}.unsqueeze(-3)"
    before: Dim = depth[0] if depth else 1
    layers, pad = [], kernel // 2
    for after in channels:
        layers += [f"nn.Conv2d({before}, {after}, {kernel}, {stride}, {pad})", ACTIVATIONS[activation]]
        height, width = (shrink(size, kernel, stride, pad) for size in (height, width))
        stream.cost(before, after, kernel * kernel, height, width, timed=part.timed)
        before = after
    module = stream.module(f"{stream.kernel('convolution', 'Picture')}({', '.join(layers)})", role=part.arg)
    return stream.through(module, stream.one_axis(part, text), stream.product(before, height, width))


def shrink(size: Dim, kernel: int, stride: int, pad: int) -> Dim:
    """Positions at which a kernel fits: ⌊(size + 2 pad - kernel) / stride⌋ + 1."""
    if isinstance(size, int):
        return (size + 2 * pad - kernel) // stride + 1
    return f"({size} + {2 * pad - kernel}) // {stride} + 1".replace("+ -", "- ")


def convolve(stream: Stream, channels: tuple[Dim, ...], kernel: int, activation: str) -> None:
    """A sequence keeps its length; a causal net's positions see up to themselves only."""
    stream.start()
    x = stream.flatten()
    name = stream.kernel("convolution", "Convolution")
    mask = "" if stream.prefixes or stream.mask == "None" else f", {stream.mask}"
    settings = ", causal=True" if stream.causal else ""
    text, before = x.text, x.width
    for i, after in enumerate(channels):
        module = stream.module(f"{name}({before}, {after}, {kernel}{settings})", role=("convolve", i))
        function = stream.module(ACTIVATIONS[activation], "activation", "activation")
        stream.cost(before, after, kernel, timed=True)
        text, before = f"{function}({module}({text}{mask}))", after
    stream.set(text, before)


ENTRY = Network(
    "cnn",
    cnn,
    {
        "channels": Option("sizes", required=True),
        "kernel": Option("count", default=3),
        "stride": Option("count"),
        "activation": ACTIVATION,
    },
    sequence="both",
    ordered=True,
)
