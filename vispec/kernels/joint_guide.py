"""Guides over all latents that rows share, jointly: a draw in ℝᴰ and its log-density, of standard normal noise.

Each is called with noise (*S, guide.noise) and returns draws (*S, D) and log q (*S) in nats. They start near N(0, 1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def log_standard_normal(noise: Tensor) -> Tensor:
    """log N(noise; 0, I) (*S) of noise (*S, D)."""
    return -0.5 * noise.square().sum(-1) - 0.9189385332046727 * noise.shape[-1]  # log(2π) / 2


class FullRankGaussian(nn.Module):
    """N(loc, L Lᵀ) with a lower triangular L (D, D)."""

    def __init__(self, size: int):
        super().__init__()
        self.noise = size
        self.loc = nn.Parameter(torch.zeros(size))
        self.log_diagonal = nn.Parameter(torch.zeros(size))
        self.below = nn.Parameter(torch.zeros(size, size))

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        value = self.loc + self.log_diagonal.exp() * noise + noise @ self.below.tril(-1).T
        return value, log_standard_normal(noise) - self.log_diagonal.sum()


class LowRankGaussian(nn.Module):
    """N(loc, W Wᵀ + diag(scale²)) with W (D, rank): D (rank + 2) numbers where a full covariance has D (D + 3) / 2."""

    def __init__(self, size: int, rank: int):
        super().__init__()
        self.size, self.noise = size, size + rank
        self.loc = nn.Parameter(torch.zeros(size))
        self.raw_scale = nn.Parameter(torch.zeros(size))
        self.directions = nn.Parameter(0.1 * torch.randn(size, rank))

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        scale = F.softplus(self.raw_scale)
        value = self.loc + scale * noise[..., : self.size] + noise[..., self.size :] @ self.directions.T
        law = torch.distributions.LowRankMultivariateNormal(self.loc, self.directions, scale.square(), validate_args=False)
        return value, law.log_prob(value)


class MaskedLinear(nn.Linear):
    """A linear map whose outputs of group i read inputs of groups below i, and of group i too where `same`."""

    mask: Tensor

    def __init__(self, inputs: Tensor, outputs: Tensor, same: bool):
        super().__init__(len(inputs), len(outputs))
        mask = outputs[:, None] >= inputs if same else outputs[:, None] > inputs
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class AutoregressiveLayer(nn.Module):
    """y_i = shift_i + scale_i (x_i + Σ_k a_ik tanh(b_ik x_i + c_ik)) with a, b, scale > 0 of x_1 … x_{i-1} by a masked net:
    increasing in x_i, so that log |∂y / ∂x| is the sum of the logarithms of ∂y_i / ∂x_i."""

    def __init__(self, size: int, hidden: int, bumps: int):
        super().__init__()
        self.size, self.bumps = size, bumps
        each = torch.arange(size)
        inner = torch.arange(hidden) % max(size - 1, 1)
        outer = each.repeat_interleave(2 + 3 * bumps)
        self.first = MaskedLinear(each, inner, same=True)
        self.second = MaskedLinear(inner, outer, same=False)
        with torch.no_grad():
            self.second.weight.mul_(0.1)
            bias = self.second.bias.view(size, 2 + 3 * bumps)
            bias.zero_()
            bias[:, 2 : 2 + bumps] = -3.0  # small bumps
            bias[:, 2 + 2 * bumps :] = torch.linspace(-2, 2, bumps) if bumps > 1 else 0.0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(*S, D) → (*S, D) and log |∂y / ∂x| (*S)."""
        found = self.second(torch.tanh(self.first(x))).unflatten(-1, (self.size, 2 + 3 * self.bumps))
        shift, log_scale, height, slope, place = found.split([1, 1, self.bumps, self.bumps, self.bumps], -1)
        height, slope = F.softplus(height), F.softplus(slope)
        bump = torch.tanh(slope * x.unsqueeze(-1) + place)
        y = x + (height * bump).sum(-1)
        gain = (height * slope * (1 - bump.square())).sum(-1)
        log_scale = log_scale.squeeze(-1)
        return shift.squeeze(-1) + log_scale.exp() * y, (log_scale + torch.log1p(gain)).sum(-1)


class AutoregressiveFlow(nn.Module):
    """Inverse autoregressive layers (Kingma et al. 2016) with monotone maps (Huang et al. 2018), the order reversed between
    them: a draw and its density in one pass."""

    def __init__(self, size: int, layers: int, hidden: int, bumps: int = 8):
        super().__init__()
        self.noise = size
        self.layers = nn.ModuleList(AutoregressiveLayer(size, hidden, bumps) for _ in range(layers))

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        value, log_q = noise, log_standard_normal(noise)
        for layer in self.layers:
            value, gain = layer(value.flip(-1))
            log_q = log_q - gain
        return value, log_q
