"""Nets with a Gaussian prior over every weight, and a mean-field Gaussian guide (Blundell et al. 2015)."""

import torch
from torch import Tensor, nn


class RandomLinear(nn.Module):
    """x Wᵀ + b for weights drawn anew for every row, by drawing the outputs (local reparameterisation, Kingma et al. 2015).

    The guide of each weight is N(weight, softplus(raw_scale)²), its prior N(loc, scale²).
    """

    def __init__(self, linear: nn.Linear, loc: float, scale: float):
        super().__init__()
        self.loc, self.scale = loc, scale
        self.weight, self.bias = linear.weight, linear.bias
        self.raw_weight_scale = nn.Parameter(torch.full_like(linear.weight, -4.0))
        self.raw_bias_scale = nn.Parameter(torch.full_like(linear.bias, -4.0))

    def forward(self, x: Tensor) -> Tensor:
        mean = nn.functional.linear(x, self.weight, self.bias)
        variances = nn.functional.softplus(self.raw_weight_scale).square(), nn.functional.softplus(self.raw_bias_scale).square()
        return mean + nn.functional.linear(x.square(), *variances).sqrt() * torch.randn_like(mean)

    def kl(self) -> Tensor:
        """KL(guide ‖ prior) of all weights (), in nats."""
        pairs = ((self.weight, self.raw_weight_scale), (self.bias, self.raw_bias_scale))
        return torch.stack([self.kl_of(mean, nn.functional.softplus(raw)).sum() for mean, raw in pairs]).sum()

    def kl_of(self, mean: Tensor, deviation: Tensor) -> Tensor:
        ratio = deviation / self.scale
        return 0.5 * (ratio.square() + ((mean - self.loc) / self.scale).square() - 1) - ratio.log()


def with_random_weights(net: nn.Module, loc: float, scale: float) -> nn.Module:
    """The net with every Linear's weights random."""
    for name, child in net.named_children():
        random = RandomLinear(child, loc, scale) if isinstance(child, nn.Linear) else with_random_weights(child, loc, scale)
        setattr(net, name, random)
    return net


def kl_of_weights(net: nn.Module) -> Tensor:
    """KL of all random weights of a net (), in nats."""
    return torch.stack([module.kl() for module in net.modules() if isinstance(module, RandomLinear)]).sum()
