"""Convolutions over images and sequences with any leading axes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Picture(nn.Sequential):
    """2-D convolutions over images (*B, C, H, W), flattened: (*B, channels · height · width)."""

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[:-3]
        return super().forward(x.reshape(-1, *x.shape[-3:])).flatten(1).unflatten(0, lead)


class Convolution(nn.Module):
    """One convolution over a sequence: x (*B, T, W) → (*B, T, channels), each position from `kernel` around it, or up to it."""

    def __init__(self, width: int, channels: int, kernel: int, causal: bool = False):
        super().__init__()
        self.convolve = nn.Conv1d(width, channels, kernel)
        self.pad = (kernel - 1, 0) if causal else ((kernel - 1) // 2, kernel // 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            x = x * mask[..., None]  # what does not count reads as the silence around the sequence
        flat = F.pad(x.reshape(-1, *x.shape[-2:]).mT, self.pad)  # (N, W, T + kernel - 1)
        return self.convolve(flat).mT.unflatten(0, x.shape[:-2])
