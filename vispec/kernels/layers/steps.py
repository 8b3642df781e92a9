"""Layers that read a sequence from left to right, one element further: x (*B, 1, W) → (*B, 1, W').

kept: what they remember of the elements before, by names of their own; rows come first, so that rows may be chosen.
"""

import torch
from torch import Tensor

from vispec.kernels.layers.attention import Transformer, attention_pool, sinusoids
from vispec.kernels.layers.convolution import Convolution
from vispec.kernels.layers.cross import CrossTransformer
from vispec.kernels.layers.recurrent import Recurrent


def or_start(x: Tensor, start: Tensor) -> Tensor:
    """The element before this one (*B, 1, W), or where there is none, (*B, 0, W), the learned vector (W,) in its place."""
    return x if x.shape[-2] else start.expand(*x.shape[:-2], 1, -1)


def once(kept: dict[str, Tensor], name: str, made) -> Tensor:
    """What is the same at every element: made() at the first."""
    if name not in kept:
        kept[name] = made()
    return kept[name]


def appended(kept: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """All elements so far (*B, T, W)."""
    kept[name] = torch.cat((kept[name], x), -2) if name in kept else x
    return kept[name]


def recurrent_next(layer: Recurrent, x: Tensor, kept: dict[str, Tensor], name: str, init=None) -> Tensor:
    """As Recurrent; init() gives the states before the first element. kept: states (*B, G·L·H)."""
    lead, states = x.shape[:-2], layer.num_layers * (2 if layer.mode == "LSTM" else 1)
    state = kept[name] if name in kept else init() if init else x.new_zeros(states * layer.hidden_size)
    state = state.expand(*lead, -1).reshape(lead.numel(), states, -1).transpose(0, 1).contiguous()  # (G·L, N, H)
    out, *behind = layer.fused(x.reshape(lead.numel(), 1, -1), state)
    kept[name] = torch.cat(behind).transpose(0, 1).reshape(*lead, -1)
    return out.reshape(*lead, 1, -1)


def transformer_next(layer: Transformer, x: Tensor, kept: dict[str, Tensor], name: str) -> Tensor:
    """As a causal Transformer. kept: the keys and values of each block, (*B, heads, T, W / heads)."""
    x = x + sinusoids(x, elements_before(kept, name))
    for at, block in enumerate(layer.blocks):
        x = block(x, None, False, joined_to(kept, f"{name}.{at}"))
    return layer.norm(x)


def cross_transformer_next(
    layer: CrossTransformer, x: Tensor, memory: Tensor, mask: Tensor | None, kept: dict[str, Tensor], name: str
) -> Tensor:
    """As a causal CrossTransformer. kept: also the keys and values of the memory for each block, (*B, S, 2W)."""
    x = x + sinusoids(x, elements_before(kept, name))
    for at, block in enumerate(layer.blocks):
        own = f"{name}.{at}"
        x = block(x, None, False, memory, mask, joined_to(kept, own), lambda make, own=own: once(kept, f"{own}.memory", make))
    return layer.norm(x)


def elements_before(kept: dict[str, Tensor], name: str) -> int:
    """How many a transformer has read."""
    return kept[f"{name}.0.keys"].shape[-2] if f"{name}.0.keys" in kept else 0


def joined_to(kept: dict[str, Tensor], name: str):
    """Puts keys and values behind those of the elements before, and keeps all."""
    return lambda keys, values: (appended(kept, f"{name}.keys", keys), appended(kept, f"{name}.values", values))


def convolution_next(layer: Convolution, x: Tensor, kept: dict[str, Tensor], name: str) -> Tensor:
    """As a causal Convolution. kept: the elements that its kernel still reads, (*B, kernel - 1, W), zeros before the first."""
    before = kept[name] if name in kept else x.new_zeros(*x.shape[:-2], layer.pad[0], x.shape[-1])
    x = torch.cat((before, x), -2)
    kept[name] = x[..., 1:, :]
    flat = x.reshape(x.shape[:-2].numel(), *x.shape[-2:])
    return layer.convolve(flat.mT).mT.reshape(*x.shape[:-2], 1, -1)


def pool_next(score: Tensor, x: Tensor, kept: dict[str, Tensor], name: str) -> Tensor:
    """As attention_pools: (*B, 1, W) over all elements so far, with those of x (*B, 1 or 0, W). kept: scores and elements."""
    x, score = appended(kept, name, x), appended(kept, f"{name}.scores", score[..., None])
    return attention_pool(score[..., 0], x, None)[..., None, :]


def sum_next(x: Tensor, kept: dict[str, Tensor], name: str) -> Tensor:
    """The sum of all elements so far (*B, 1, W), zeros of none."""
    kept[name] = x.sum(-2, keepdim=True) + kept[name] if name in kept else x.sum(-2, keepdim=True)
    return kept[name]


def mean_next(x: Tensor, kept: dict[str, Tensor], name: str) -> Tensor:
    """The mean of all elements so far (*B, 1, W), zeros of none."""
    count = kept.get(f"{name}.count", x.new_zeros(*x.shape[:-2], 1, 1)) + x.shape[-2]
    kept[f"{name}.count"] = count
    return sum_next(x, kept, name) / count.clamp(min=1)
