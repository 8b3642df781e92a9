"""Inverse autoregressive layers: invertible maps of vectors whose every number is an increasing function of itself that depends
on the numbers before it. A guide carries its draws through them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
    increasing in x_i, so that log |∂y / ∂x| is the sum of the logarithms of ∂y_i / ∂x_i. The net reads the context too, if any.
    """

    def __init__(self, size: int, hidden: int, bumps: int, context: int = 0):
        super().__init__()
        self.size, self.bumps = size, bumps
        self.told = nn.Linear(context, hidden, bias=False) if context else None
        each = torch.arange(size)
        inner = torch.arange(hidden) % size - 1 if context else torch.arange(hidden) % max(size - 1, 1)  # -1: the context alone
        outer = each.repeat_interleave(2 + 3 * bumps)
        self.first = MaskedLinear(each, inner, same=True)
        self.second = MaskedLinear(inner, outer, same=False)
        with torch.no_grad():
            self.second.weight.mul_(0.1)
            bias = self.second.bias.view(size, 2 + 3 * bumps)
            bias.zero_()
            bias[:, 2 : 2 + bumps] = -3.0  # small bumps
            bias[:, 2 + 2 * bumps :] = torch.linspace(-2, 2, bumps) if bumps > 1 else 0.0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (*S, D), context (*S, C) → y (*S, D) and log |∂y / ∂x| (*S)."""
        inner = self.first(x)
        if self.told is not None:
            inner = inner + self.told(context)
        found = self.second(torch.tanh(inner)).unflatten(-1, (self.size, 2 + 3 * self.bumps))
        shift, log_scale, height, slope, place = found.split([1, 1, self.bumps, self.bumps, self.bumps], -1)
        height, slope = F.softplus(height), F.softplus(slope)
        bump = torch.tanh(slope * x.unsqueeze(-1) + place)
        y = x + (height * bump).sum(-1)
        gain = (height * slope * (1 - bump.square())).sum(-1)
        log_scale = log_scale.squeeze(-1)
        return shift.squeeze(-1) + log_scale.exp() * y, (log_scale + torch.log1p(gain)).sum(-1)


class AutoregressiveLayers(nn.Module):
    """Inverse autoregressive layers (Kingma et al. 2016) with monotone maps (Huang et al. 2018), the order reversed between
    them: they carry a draw and what its log-density loses in one pass."""

    def __init__(self, size: int, layers: int, hidden: int, context: int = 0, bumps: int = 8):
        super().__init__()
        self.layers = nn.ModuleList(AutoregressiveLayer(size, hidden, bumps, context) for _ in range(layers))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (*S, D), context (*S, C) → y (*S, D) and log |∂y / ∂x| (*S)."""
        gain = x.new_zeros(x.shape[:-1])
        for layer in self.layers:
            x, more = layer(x.flip(-1), context)
            gain = gain + more
        return x, gain
