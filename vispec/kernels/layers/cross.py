"""A transformer whose layers also look things up in a memory (*B, S, M), of which a mask (*B, S) counts, or all for None."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vispec.kernels.layers.attention import Block, or_padding, sinusoids


class CrossBlock(Block):
    """A Block that asks the memory between what it reads in x (*B, T, W) and its mlp."""

    def __init__(self, width: int, heads: int, hidden: int, memory: int, dropout: float):
        super().__init__(width, heads, hidden, dropout)
        self.ask = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.answer = nn.Linear(memory, 2 * width)
        self.take = nn.Linear(width, width)

    def answers(self, memory: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Keys and values of the memory (*B, heads, S, d); the values of what does not count are 0, so none are found in it."""
        keys, values = self.answer(memory).unflatten(-1, (2, self.heads, -1)).transpose(-4, -2).unbind(-3)
        return keys, values if mask is None else values.masked_fill(~mask[..., None, :, None], 0)

    def forward(self, x: Tensor, keep: Tensor | None, causal: bool, join, keys: Tensor, values: Tensor, there: Tensor | None) -> Tensor:
        x = self.read(x, keep, causal, join)
        q = self.ask(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
        found = F.scaled_dot_product_attention(q, keys, values, there, self.dropout if self.training else 0.0)
        x = x + F.dropout(self.take(found.transpose(-3, -2).flatten(-2)), self.dropout, self.training)
        return x + F.dropout(self.mlp(x), self.dropout, self.training)


class CrossTransformer(nn.Module):
    """A Transformer of such blocks."""

    def __init__(self, width: int, heads: int, layers: int, hidden: int, memory: int, dropout: float = 0.0, causal: bool = False):
        super().__init__()
        self.blocks = nn.ModuleList(CrossBlock(width, heads, hidden, memory, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.causal = causal

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None, mask: Tensor | None = None) -> Tensor:
        keep = None if mask is None or self.causal else or_padding(mask)
        there = None if memory_mask is None else or_padding(memory_mask)
        x = x + sinusoids(x)
        for block in self.blocks:
            x = block(x, keep, self.causal, None, *block.answers(memory, memory_mask), there)
        return self.norm(x)
