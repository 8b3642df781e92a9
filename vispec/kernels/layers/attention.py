"""Attention over sequences: x (*B, T, W), a mask (*B, T) of what counts, or None where all of it does."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def masked_softmax(score: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the last axis of what counts, zeros where nothing does."""
    if mask is None:
        return score.softmax(-1)
    return score.masked_fill(~mask, torch.finfo(score.dtype).min).softmax(-1) * mask


def attention_pool(score: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
    """Σ_t softmax(score)[t] x[t]: score (*B, T), x (*B, T, W) → (*B, W), zeros where nothing counts."""
    return torch.einsum("...t,...tw->...w", masked_softmax(score, mask), x)


def attention_pools(score: Tensor, x: Tensor, before: bool) -> Tensor:
    """attention_pool of the elements before each position, or up to it: (*B, T, W)."""
    size = score.shape[-1]
    seen = torch.ones(size, size, dtype=torch.bool, device=x.device).tril(-1 if before else 0)
    return masked_softmax(score[..., None, :].expand(*score.shape[:-1], size, size), seen) @ x


def dot_attention(query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
    """What each of the queries (*B, T, W) finds in memory (*B, S, W), of which mask (*B, S) counts: (*B, T, W)."""
    score = query @ memory.mT  # (*B, T, S)
    return masked_softmax(score, None if mask is None else mask[..., None, :]) @ memory


def sinusoids(x: Tensor, first: int = 0) -> Tensor:
    """Positions first, first + 1, ... of x (*B, T, W) as waves of W/2 wavelengths from 2π to 10000·2π: (T, W)."""
    size, width = x.shape[-2:]
    rate = torch.exp(torch.arange(0, width, 2, device=x.device, dtype=x.dtype) * (-9.210340371976184 / width))  # log 10000
    angle = torch.arange(first, first + size, device=x.device, dtype=x.dtype)[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(-2)[:, :width]


def or_padding(mask: Tensor) -> Tensor:
    """What states may read (*B, 1, 1, T): what counts, or of an empty sequence its padding, as a softmax is over something."""
    return (mask | ~mask.any(-1, keepdim=True))[..., None, None, :]


class Block(nn.Module):
    """A transformer's layer with its norms first: x (*B, T, W) → (*B, T, W)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, keep: Tensor | None, causal: bool, join=None) -> Tensor:
        return self.through_mlp(self.read(x, keep, causal, join))

    def read(self, x: Tensor, keep: Tensor | None, causal: bool, join=None) -> Tensor:
        """x and what it finds in itself. join(keys, values) puts those of elements before (*B, heads, S, d) in front."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).transpose(-4, -2).unbind(-3)  # (*B, heads, T, d)
        k, v = (k, v) if join is None else join(k, v)
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(q, k, v, keep, dropout, is_causal=causal)
        return x + F.dropout(self.mix(found.transpose(-3, -2).flatten(-2)), self.dropout, self.training)

    def through_mlp(self, x: Tensor) -> Tensor:
        return x + F.dropout(self.mlp(x), self.dropout, self.training)


class Transformer(nn.Module):
    """States (*B, T, W) that have read all of x (*B, T, W) that counts, or all up to their own position where causal."""

    def __init__(self, width: int, heads: int, layers: int, hidden: int, dropout: float = 0.0, causal: bool = False):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.causal = causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mask has no holes, so what a causal state reads counts if the state does."""
        keep = None if mask is None or self.causal else or_padding(mask)
        x = x + sinusoids(x)
        for block in self.blocks:
            x = block(x, keep, self.causal)
        return self.norm(x)
