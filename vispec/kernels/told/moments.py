"""Moments of latents that are integrated, averaged over the posterior of what is summed beside them."""

from __future__ import annotations

import torch
from torch import Tensor


def moments_over_sums(tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The mean and the deviation of each number, (B, *plates, *event), from the gradient of log p for tilts "z mean" of the
    mean and "z square" of the second moment; "z infinite_mean" of 1 where the mean is infinite, which "z mean" leaves out
    then."""
    with torch.enable_grad():
        tilt = {name: each.clone().requires_grad_() for name, each in tilt.items()}  # no two are one tensor
        found = dict(zip(tilt, torch.autograd.grad(tilted(batch, tilt).sum(), [*tilt.values()]), strict=True))
    names = dict.fromkeys(name.rpartition(" ")[0] for name in tilt)
    for key in [key for key in found if " infinite_" in key]:
        whole = key.replace(" infinite_", " ")
        found[whole] = found[whole].masked_fill(found[key] > 0, torch.inf)
    return {
        name: {
            "mean": (mean := found[f"{name} mean"]),
            "sd": (found[f"{name} square"] - mean.square()).clamp(min=0).sqrt(),
        }
        for name in names
    }
