"""mlp([sizes], activation=relu): hidden layers, each an affine layer and its activation."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from vispec.catalog import Network, Option

if TYPE_CHECKING:
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Stream

ACTIVATIONS = {
    "relu": "nn.ReLU()",
    "tanh": "nn.Tanh()",
    "gelu": "nn.GELU()",
    "softplus": "nn.Softplus()",
    "sigmoid": "nn.Sigmoid()",
    "silu": "nn.SiLU()",
}
ACTIVATION = Option("choice", default="relu", choices=tuple(ACTIVATIONS))


def mlp(stream: Stream, sizes: tuple[Dim, ...], activation: str) -> None:
    """No sizes, no layer."""
    if not sizes:
        return
    first, text = stream.linear(sizes[0])
    fresh = "nn.ReLU(inplace=True)" if activation == "relu" else ACTIVATIONS[activation]  # a sum that nothing else reads
    layers = [first, ACTIVATIONS[activation]] if first else [fresh]
    for before, after in pairwise(sizes):
        stream.cost(before, after, timed=stream.timed)
        layers += [stream.affine(before, after), ACTIVATIONS[activation]]
    module = stream.module(f"nn.Sequential({', '.join(layers)})")
    if first and stream.prior is None and (mean_of := stream.parts[0].mean_of):  # random weights do not commute with the mean
        stream.net.mean_of = (list(stream.net.lines), module, *mean_of)
        stream.set(f"{stream.kernel('sequence', 'after_mean')}({module}, {', '.join(mean_of)})", sizes[-1])
    else:
        stream.set(f"{module}({text})", sizes[-1])


ENTRY = Network("mlp", mlp, {"sizes": Option("sizes", required=True), "activation": ACTIVATION}, linear="sizes")
