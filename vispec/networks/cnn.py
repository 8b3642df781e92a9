"""cnn([channels], kernel, stride, activation): convolutions over images, flattened at the end, or over sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import Network, Option
from vispec.networks.mlp import ACTIVATION, ACTIVATIONS

if TYPE_CHECKING:
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Part, Stream


def cnn(stream: Stream, channels: tuple[Dim, ...], kernel: int, stride: int | None, activation: str) -> None:
    """The activation follows each layer. Images (C, H, W) or (H, W) shrink by `stride`, 2 by default; sequences never do."""
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
    part = replace(part, text=part.text if depth else f"{part.text}.unsqueeze(-3)")
    before: Dim = depth[0] if depth else 1
    layers, size = [], (height, width)
    for i, after in enumerate(channels):
        layers += [f"nn.Conv2d({before}, {after}, {kernel}, {stride}, {kernel // 2})", ACTIVATIONS[activation]]
        size = tuple(shrunk(stream, side, kernel, stride, i + 1) for side in (height, width))
        stream.cost(before, after, kernel * kernel, *size, timed=part.timed)
        before = after
    module = stream.module(f"{stream.kernel('convolution', 'Picture')}({', '.join(layers)})", role=part.arg)
    return stream.through(module, part, stream.product(before, *size))


def shrunk(stream: Stream, side: Dim, kernel: int, stride: int, layers: int) -> Dim:
    """Positions at which a padded kernel fits, ⌊(side + 2 ⌊kernel / 2⌋ - kernel) / stride⌋ + 1, after some layers."""
    if kernel % 2:
        return stream.ceiling(side, stride**layers)
    for _ in range(layers):
        side = side // stride + 1 if isinstance(side, int) else f"({side}) // {stride} + 1"
    return side


def convolve(stream: Stream, channels: tuple[Dim, ...], kernel: int, activation: str) -> None:
    """A sequence keeps its length; a causal net's positions see up to themselves only."""
    stream.start()
    name = stream.kernel("convolution", "Convolution")
    mask = "" if stream.prefixes or stream.mask == "None" else f", {stream.mask}"
    settings = ", causal=True" if stream.causal else ""
    for i, after in enumerate(channels):
        x = stream.flatten()
        module = stream.module(f"{name}({x.width}, {after}, {kernel}{settings})", role=("convolve", i))
        function = stream.module(ACTIVATIONS[activation], "activation", "activation")
        stream.cost(x.width, after, kernel, timed=True)
        text = f"{module}({x.text}{mask})"
        if stream.next:
            text = f"{stream.kernel('steps', 'convolution_next')}({', '.join([module, x.text, *stream.kept(module)])})"
        stream.set(f"{function}({text})", after)


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
    steps=True,
)
