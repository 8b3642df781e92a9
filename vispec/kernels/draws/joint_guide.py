"""Guides over all latents that rows share, jointly: a draw in ℝᴰ and its log-density, of standard normal noise.

Each is called with noise (*S, guide.noise) and returns draws (*S, D) and log q (*S) in nats. They start near N(0, 1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vispec.kernels.draws.autoregressive import AutoregressiveLayers


def log_standard_normal(noise: Tensor) -> Tensor:
    """log N(noise; 0, I) (*S) of noise (*S, D)."""
    return -0.5 * noise.square().sum(-1) - 0.9189385332046727 * noise.shape[-1]  # log(2π) / 2


class FullRankGaussian(nn.Module):
    """N(loc, L Lᵀ) with a lower triangular L (D, D). It starts narrow, with standard deviations of 0.1: a wide one has noisy
    gradients, with which the locations are found late."""

    def __init__(self, size: int):
        super().__init__()
        self.noise = size
        self.loc = nn.Parameter(torch.zeros(size))
        self.log_diagonal = nn.Parameter(torch.full((size,), -2.3))
        self.below = nn.Parameter(torch.zeros(size, size))

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        value = self.loc + self.log_diagonal.exp() * noise + noise @ self.below.tril(-1).T
        return value, log_standard_normal(noise) - self.log_diagonal.sum()


class LowRankGaussian(nn.Module):
    """N(loc, W Wᵀ + diag(scale²)) with W (D, rank): D (rank + 2) numbers where a full covariance has D (D + 3) / 2.
    It starts as narrow as the other."""

    def __init__(self, size: int, rank: int):
        super().__init__()
        self.size, self.noise = size, size + rank
        self.loc = nn.Parameter(torch.zeros(size))
        self.raw_scale = nn.Parameter(torch.full((size,), -2.25))
        self.directions = nn.Parameter(0.01 * torch.randn(size, rank))

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        scale = F.softplus(self.raw_scale)
        value = self.loc + scale * noise[..., : self.size] + noise[..., self.size :] @ self.directions.T
        law = torch.distributions.LowRankMultivariateNormal(self.loc, self.directions, scale.square(), validate_args=False)
        return value, law.log_prob(value)


class AutoregressiveFlow(nn.Module):
    """Autoregressive layers behind standard normal noise: a draw and its density in one pass."""

    def __init__(self, size: int, layers: int, hidden: int):
        super().__init__()
        self.noise = size
        self.carry = AutoregressiveLayers(size, layers, hidden)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        value, gain = self.carry(noise)
        return value, log_standard_normal(noise) - gain


def shaped(flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Numbers (*S, n) as (*S, *shape)."""
    return flat.unflatten(-1, shape) if shape else flat.squeeze(-1)


def cut(flat: Tensor, shapes: tuple[tuple[int, ...], ...]) -> tuple[Tensor, ...]:
    """Numbers (*S, n) as tensors (*S, *shape) of these shapes, one after the other."""
    parts = flat.split([torch.Size(shape).numel() for shape in shapes], -1)
    return tuple(shaped(part, shape) for part, shape in zip(parts, shapes, strict=True))
