"""Convolutions over images and sequences with any leading axes."""

from torch import Tensor, nn
from torch.nn import functional as F


class Picture(nn.Sequential):
    """2-D convolutions over images (*B, C, H, W), flattened: (*B, channels · height · width)."""

    def forward(self, input: Tensor) -> Tensor:
        flat = super().forward(input.flatten(0, -4) if input.dim() > 3 else input[None]).flatten(1)
        return flat.reshape(*input.shape[:-3], flat.shape[1])


class Convolution(nn.Module):
    """One convolution over a sequence: x (*B, T, W) → (*B, T, channels), each position from `kernel` around it, or up to it."""

    def __init__(self, width: int, channels: int, kernel: int, causal: bool = False):
        super().__init__()
        self.convolve = nn.Conv1d(width, channels, kernel)
        self.pad = (kernel - 1, 0) if causal else ((kernel - 1) // 2, kernel // 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            x = x * mask[..., None]  # what does not count reads as the silence around the sequence
        if not x.shape[-2]:
            return x.new_zeros(*x.shape[:-1], self.convolve.out_channels)
        flat = x.flatten(0, -3) if x.dim() > 2 else x[None]
        y = self.convolve(F.pad(flat.mT, self.pad)).mT  # (N, T, channels)
        return y.reshape(*x.shape[:-1], y.shape[2])
