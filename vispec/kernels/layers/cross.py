"""A transformer whose layers also look things up in a memory (*B, S, M), of which a mask (*B, S) counts, or all for None."""

from torch import Tensor, nn
from torch.nn import functional as F

from vispec.kernels.layers.attention import Block, or_padding, sinusoids


class Cross(nn.Module):
    """What states (*B, T, W) find in a memory, added to them; their norm comes first."""

    def __init__(self, width: int, heads: int, memory: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.ask = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.answer = nn.Linear(memory, 2 * width)
        self.mix = nn.Linear(width, width)

    def answers(self, memory: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Keys and values (*B, heads, S, d); values of what does not count are 0, so that in an empty memory nothing is found."""
        keys, values = self.answer(memory).unflatten(-1, (2, self.heads, -1)).transpose(-4, -2).unbind(-3)
        return keys, values if mask is None else values.masked_fill(~mask[..., None, :, None], 0)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, there: Tensor | None) -> Tensor:
        """there: what of the memory may be read (*B, 1, 1, S)."""
        q = self.ask(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # (*B, heads, T, d)
        found = F.scaled_dot_product_attention(q, keys, values, there, self.dropout if self.training else 0.0)
        return x + F.dropout(self.mix(found.transpose(-3, -2).flatten(-2)), self.dropout, self.training)


class CrossTransformer(nn.Module):
    """As Transformer; each of its layers looks things up in the memory before its mlp."""

    def __init__(
        self, width: int, heads: int, layers: int, hidden: int, memory: int, dropout: float = 0.0, causal: bool = False
    ):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(layers))
        self.crosses = nn.ModuleList(Cross(width, heads, memory, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.causal = causal

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None, mask: Tensor | None = None) -> Tensor:
        keep = None if mask is None or self.causal else or_padding(mask)
        there = None if memory_mask is None else or_padding(memory_mask)
        x = x + sinusoids(x)
        for block, cross in zip(self.blocks, self.crosses, strict=True):
            x = cross(block.read(x, keep, self.causal), *cross.answers(memory, memory_mask), there)
            x = block.through_mlp(x)
        return self.norm(x)
