"""Linear layers with a Gaussian prior over every weight, and a mean-field Gaussian guide (Blundell et al. 2015)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RandomWeights(nn.Module):
    """A layer whose weights, and biases if any, have the guide N(weight, softplus(raw_scale)²) and the prior N(loc, scale²)."""

    loc: float
    scale: float

    def kl(self) -> Tensor:
        """KL(guide ‖ prior) of all weights (), in nats."""
        raw = {name: value for name, value in self.named_parameters(recurse=False) if name.startswith("raw_")}
        means = [self.get_parameter(name.removeprefix("raw_").removesuffix("_scale")) for name in raw]
        parts = [self.kl_of(mean, F.softplus(value)).sum() for mean, value in zip(means, raw.values(), strict=True)]
        return torch.stack(parts).sum()

    def kl_of(self, mean: Tensor, deviation: Tensor) -> Tensor:
        ratio = deviation / self.scale
        return 0.5 * (ratio.square() + ((mean - self.loc) / self.scale).square() - 1) - ratio.log()


class RandomLinear(nn.Linear, RandomWeights):
    """x Wᵀ + b for weights drawn anew for every row, by drawing the outputs (local reparameterisation, Kingma et al. 2015)."""

    def __init__(self, inputs: int, outputs: int, loc: float, scale: float, bias: bool = True):
        super().__init__(inputs, outputs, bias)
        self.loc, self.scale = loc, scale
        self.raw_weight_scale = nn.Parameter(torch.full_like(self.weight, -4.0))
        self.raw_bias_scale = nn.Parameter(torch.full_like(self.bias, -4.0)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        mean = F.linear(x, self.weight, self.bias)
        of_bias = None if self.raw_bias_scale is None else F.softplus(self.raw_bias_scale).square()
        variance = F.linear(x.square(), F.softplus(self.raw_weight_scale).square(), of_bias)
        if of_bias is None:  # all of x may be 0, where the square root has no gradient
            variance = variance.clamp(min=torch.finfo(variance.dtype).tiny)
        return mean + variance.sqrt() * torch.randn_like(mean)


class RandomOneHotLinear(nn.Embedding, RandomWeights):
    """The same for a one-hot input, without biases: index (*B) → (*B, width), a row of weights drawn anew.

    A relaxed index is the weights of its values (*B, K)."""

    def __init__(self, values: int, width: int, loc: float, scale: float):
        super().__init__(values, width)
        nn.init.uniform_(self.weight, -(values**-0.5), values**-0.5)  # as for nn.Linear
        self.loc, self.scale = loc, scale
        self.raw_weight_scale = nn.Parameter(torch.full_like(self.weight, -4.0))

    def forward(self, index: Tensor) -> Tensor:
        if index.is_floating_point():
            mean = index @ self.weight
            deviation = (index.square() @ F.softplus(self.raw_weight_scale).square()).sqrt()
        else:
            mean = super().forward(index)
            deviation = F.softplus(F.embedding(index, self.raw_weight_scale))
        return mean + deviation * torch.randn_like(mean)


def kl_of_weights(net: nn.Module) -> Tensor:
    """KL of all random weights of a net (), in nats."""
    return torch.stack([module.kl() for module in net.modules() if isinstance(module, RandomWeights)]).sum()
