"""A transformer whose layers also look things up in a memory (*B, S, M), of which a mask (*B, S) counts, or all for None."""

from torch import Tensor, nn
from torch.nn import functional as F

from vispec.kernels.layers.attention import Block, or_padding, sinusoids


class CrossBlock(nn.Module):
    """A Block that asks a memory between what states (*B, T, W) read of each other and the mlp; its norm comes first, too."""

    def __init__(self, width: int, heads: int, hidden: int, memory: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.block = Block(width, heads, hidden, dropout)
        self.ask = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.answer = nn.Linear(memory, 2 * width)
        self.mix = nn.Linear(width, width)

    def answers(self, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Keys and values (*B, S, 2W); those of what does not count are 0, so that an empty memory gives nothing."""
        found = self.answer(memory)
        return found if mask is None else found.masked_fill(~mask[..., None], 0)

    def forward(
        self, x: Tensor, keep: Tensor | None, causal: bool, memory: Tensor, mask: Tensor | None, join=None, once=None
    ) -> Tensor:
        """once(make) is what make() gave at a sequence's first element, where it comes element by element."""
        x = self.block.read(x, keep, causal, join)
        answers = self.answers(memory, mask) if once is None else once(lambda: self.answers(memory, mask))
        k, v = answers.unflatten(-1, (2, self.heads, -1)).transpose(-4, -2).unbind(-3)  # (*B, heads, S, d)
        q = self.ask(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # (*B, heads, T, d)
        there, dropout = None if mask is None else or_padding(mask), self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(q, k, v, there, dropout)
        x = x + F.dropout(self.mix(found.transpose(-3, -2).flatten(-2)), self.dropout, self.training)
        return self.block.through_mlp(x)


class CrossTransformer(nn.Module):
    """As Transformer, of such blocks."""

    def __init__(
        self, width: int, heads: int, layers: int, hidden: int, memory: int, dropout: float = 0.0, causal: bool = False
    ):
        super().__init__()
        self.blocks = nn.ModuleList(CrossBlock(width, heads, hidden, memory, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.causal = causal

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None, mask: Tensor | None = None) -> Tensor:
        keep = None if mask is None or self.causal else or_padding(mask)
        x = x + sinusoids(x)
        for block in self.blocks:
            x = block(x, keep, self.causal, memory, memory_mask)
        return self.norm(x)
