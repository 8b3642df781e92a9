"""Numbers in units that nets learn well from."""

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """(x − mean) / deviation for each of `width` numbers, as `learn_scales` finds them in data; before that, x itself.

    What does not vary in the data has deviation 1. mask (*B, T): which elements of x (*B, T, width) count. seen (*B, width) or
    (*B, 1): 1 for numbers that are there; the others have no part in the mean and are 0 in the result."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.learning = False

    def forward(self, x: Tensor, mask: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        if self.learning:
            self.learn(x, mask, torch.ones_like(x) if seen is None else seen)
        standard = (x - self.mean) / self.deviation
        return standard if seen is None else torch.where(seen > 0, standard, 0.0)

    def learn(self, x: Tensor, mask: Tensor | None, seen: Tensor) -> None:
        """Take the means and deviations of what counts and is there; of nothing, 0 and 1."""
        counts = (seen > 0).expand_as(x)
        if mask is not None:
            counts = counts & mask.expand(x.shape[:-1]).unsqueeze(-1)
        counts, x = counts.reshape(-1, x.shape[-1]), x.reshape(-1, x.shape[-1])
        number = counts.sum(0).clamp(min=1)
        mean = torch.where(counts, x, 0.0).sum(0) / number
        first = x.gather(0, counts.int().argmax(0, keepdim=True))
        varies = (counts & (x != first)).any(0)  # rounding may give a constant a deviation
        variance = torch.where(counts, x - mean, 0.0).square().sum(0) / number
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(varies, variance.sqrt(), 1.0))


def learn_scales(module, batch: dict[str, Tensor]) -> None:
    """Every `Standardise` of the module takes its mean and deviation from what it meets in this batch."""
    layers = [each for each in module.modules() if isinstance(each, Standardise)]
    for layer in layers:
        layer.learning = True
    module.log_prob(batch)
    for layer in layers:
        layer.learning = False
