"""Numbers in units that nets learn well from."""

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """(x − mean) / deviation for each of `width` numbers, as `learn_scales` finds them in data; before that, x itself.

    What does not vary in the data has deviation 1. mask (*B, T): which elements of x (*B, T, width) count."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.learning = False

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.learning:
            rows = x.reshape(-1, x.shape[-1]) if mask is None else x[mask.expand(x.shape[:-1])]
            self.mean.copy_(rows.mean(0))
            varies = (rows != rows[:1]).any(0)  # rounding may give a constant a deviation
            self.deviation.copy_(torch.where(varies, rows.std(0, correction=0), 1.0))
        return (x - self.mean) / self.deviation


def learn_scales(module, batch: dict[str, Tensor]) -> None:
    """Every `Standardise` of the module takes its mean and deviation from what it meets in this batch."""
    layers = [each for each in module.modules() if isinstance(each, Standardise)]
    for layer in layers:
        layer.learning = True
    module.log_prob(batch)
    for layer in layers:
        layer.learning = False
