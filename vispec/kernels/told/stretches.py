"""Where the stretches of a sequence begin: those of the best way to cut it, and the probability at each element."""

import torch
from torch import Tensor

from vispec.kernels.sums.algebra import maximum
from vispec.kernels.sums.logsum import log_sum_exp


class Begun:
    """An algebra under which a sum over stretches asks where they begin: begins, one for each such sum in turn, whose gradient
    is the weight of those with each label that begin at each element."""

    def __init__(self, total):
        self.total, self.begins = total, list[Tensor]()

    def __call__(self, x: Tensor) -> Tensor:
        return self.total(x)


def begins_of(total, tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], name: str, draws: bool) -> Tensor:
    """That weight (B, *plates, T, K) under an algebra. draws: whether the sum is over one draw of other latents, which stands
    first. Where a row's other latents have several values, over all of these."""
    algebra, plates = Begun(total), tilt[name].dim() - 3
    with torch.enable_grad():
        score = tilted(batch, algebra, {each: x.requires_grad_() for each, x in tilt.items()})
        (found,) = torch.autograd.grad(score.sum(), algebra.begins, allow_unused=True, materialize_grads=True)
    found = found.sum(0) if draws else found
    return found if found.dim() == plates + 3 else found.flatten(plates + 1, -3).sum(plates + 1)


def boundaries(
    tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], inside: dict[str, Tensor], name: str, draws: bool = False
) -> Tensor:
    """The probability (B, *plates, T) that a stretch begins at each element, 0 past a row's end. tilt: of nothing, for each
    latent, (B, *plates, T, K) for the stretches; inside: which elements count, of ragged plates."""
    found = begins_of(log_sum_exp, tilted, batch, tilt, name, draws).sum(-1)
    return found * inside[name] if name in inside else found


def best_stretches(
    tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], inside: dict[str, Tensor], name: str, draws: bool = False
) -> Tensor:
    """The stretches of the best way to cut and label each row (B, *plates, T, 3): first element, last element, label; -1 past
    the last stretch, and where no way is possible."""
    found = begins_of(maximum, tilted, batch, tilt, name, draws)
    T = found.shape[-2]
    at, counts = torch.arange(T, device=found.device), inside.get(name, torch.ones_like(found[..., 0], dtype=torch.bool))
    there = (found.amax(-1) > 0.5) & counts
    order = torch.where(there, at, T).sort(-1).values  # first elements, then T
    ends = torch.cat([order[..., 1:], torch.full_like(order[..., :1], T)], -1).minimum(counts.sum(-1, keepdim=True)) - 1
    label = found.argmax(-1).gather(-1, order.clamp(max=max(T - 1, 0)))
    return torch.stack([order, ends, label], -1).masked_fill((order == T)[..., None], -1)
