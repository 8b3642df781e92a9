"""LogisticNormal(loc, scale) on the simplex: normal numbers, one fewer than it has parts, through stick breaking."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def logistic_normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the normal numbers (N, K - 1) behind elements (N, K); a deviation of 0 is nan."""
    rest = value.flip(-1).cumsum(-1).flip(-1)[..., 1:]  # what is left of the stick
    normal = (value[..., :-1] / rest).log() + torch.arange(value.shape[-1] - 1, 0, -1).to(value).log()
    scale = (normal - normal[:1]).std(0, correction=0)
    return normal.mean(0), scale.masked_fill(scale == 0, torch.nan)


ENTRY = Distribution(
    name="LogisticNormal",
    params={"loc": "real", "scale": "positive"},
    support="simplex",
    everywhere=False,
    event_dim=1,
    has_rsample=True,
    torch_class="LogisticNormal",
    size_delta={"loc": -1, "scale": -1},
    start=logistic_normal_start,
    examples=({"loc": [0.5, -0.3], "scale": [1.0, 0.6]},),
)
