"""Sequences as emitted nets read them: x (*B, T, W), a mask (*B, T) of what counts, or None where all of it does."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def concatenate(*parts: Tensor) -> Tensor:
    """Side by side along the last axis; leading axes broadcast."""
    lead = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*lead, -1) for part in parts], -1)


def one_hot(index: Tensor, size: int, like: Tensor) -> Tensor:
    """index (*B) → (*B, size) of like's dtype."""
    return F.one_hot(index, size).to(like.dtype)


def keep_first(mask: Tensor | None, *sequences: Tensor) -> tuple[Tensor | None, ...]:
    """The mask and sequences (*B, T) or (*B, T, ...) with the elements that count moved to the front, in their order."""
    if mask is None:
        return mask, *sequences
    order = mask.logical_not().to(torch.uint8).argsort(dim=-1, stable=True)
    moved = [mask.gather(-1, order)]
    for x in sequences:
        lead = torch.broadcast_shapes(order.shape, x.shape[: order.dim()])
        index = order.view(*order.shape, *[1] * (x.dim() - order.dim())).expand(*lead, *x.shape[order.dim() :])
        moved.append(x.expand(index.shape).gather(order.dim() - 1, index))
    return tuple(moved)


def last(x: Tensor, mask: Tensor | None) -> Tensor:
    """The last element that counts (*B, W), zeros where none does; the mask has no holes."""
    if not x.shape[-2]:
        return x.sum(-2)
    if mask is None:
        return x[..., -1, :]
    length = mask.sum(-1)
    at = (length - 1).clamp(min=0)[..., None, None]
    lead = torch.broadcast_shapes(at.shape[:-2], x.shape[:-2])
    found = x.expand(*lead, -1, -1).gather(-2, at.expand(*lead, 1, x.shape[-1])).squeeze(-2)
    return found * (length > 0)[..., None]


def both_ends(x: Tensor, mask: Tensor | None) -> Tensor:
    """Where states that ran forward and backward both have read everything: half of the last and half of the first (*B, W)."""
    if not x.shape[-2]:
        return x.sum(-2)
    ahead, back = x.chunk(2, -1)
    first = back[..., 0, :]
    if mask is not None:
        first = first * mask.any(-1)[..., None]
    return concatenate(last(ahead, mask), first)


def after_start(x: Tensor, start: Tensor) -> Tensor:
    """A learned vector (W,) and all elements but the last: position i of (*B, T, W) holds the one before i."""
    return torch.cat((start.expand(*x.shape[:-2], 1, -1), x[..., :-1, :]), -2)


def with_start(x: Tensor, start: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A learned vector (W,) before x: (*B, T+1, W), and the mask that counts it."""
    x = torch.cat((start.expand(*x.shape[:-2], 1, -1), x), -2)
    return x, None if mask is None else F.pad(mask, (1, 0), value=True)


def weighted_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Σ_t weight[t] x[t] (*B, W), weight (*B, T); as products of matrices where there are more sums than sequences."""
    if weight.shape[:-1].numel() > x.shape[:-2].numel():
        return torch.einsum("...t,...tw->...w", weight, x)  # no copies of x along the further axes
    return (x * weight[..., None]).sum(-2)


def masked_sum(x: Tensor, mask: Tensor | None) -> Tensor:
    """Σ_t x[t] (*B, W) over what counts."""
    return x.sum(-2) if mask is None else weighted_sum(x, mask.to(x.dtype))


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean (*B, W) of what counts, zeros where nothing does."""
    if mask is None:
        return x.sum(-2) / max(x.shape[-2], 1)
    return weighted_sum(x, mask / mask.sum(-1, keepdim=True).clamp(min=1).to(x.dtype))


def after_mean(layers: nn.Sequential, x: Tensor, mask: Tensor | None) -> Tensor:
    """layers(masked_mean(x, mask)) for layers that begin with a linear one; it comes before the mean where there are more means
    than elements, its bias as one more element that always counts."""
    first, *others = layers
    if mask is None or mask.shape[:-1].numel() <= x.shape[:-1].numel() or type(first) is not nn.Linear:
        return layers(masked_mean(x, mask))
    h = weighted_sum(before_mean(first, x), shares(mask, x))
    for layer in others:
        h = layer(h)
    return h


def before_mean(first: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer of each element, and its bias as one more: (*B, T, W) → (*B, T + 1, H)."""
    return torch.cat((F.linear(x, first.weight), first.bias.expand(*x.shape[:-2], 1, -1)), -2)


def shares(mask: Tensor, like: Tensor) -> Tensor:
    """What each element weighs in the mean of those that count, and 1 for the bias: (*B, T) → (*B, T + 1)."""
    weight = mask.to(like.dtype)
    return F.pad(weight / weight.sum(-1, keepdim=True).clamp(min=1), (0, 1), value=1.0)


def after_means(layers: nn.Sequential, elements: Tensor, mask: Tensor) -> Tensor:
    """layers(mean of what counts) for S masks of one sequence: mask (*B, S, T) or, the same for all sequences, (S, T); elements
    (*B, T + 1, H) are of `before_mean`."""
    h, (_, *others) = shares(mask, elements) @ elements, layers  # (*B, S, H)
    for layer in others:
        h = h.relu_() if type(layer) is nn.ReLU else layer(h)
    return h


def sums_before(x: Tensor) -> Tensor:
    """Σ_{s<t} x[s] for every t (*B, T, W), zeros at first."""
    return F.pad(x, (0, 0, 1, 0))[..., :-1, :].cumsum(-2)


def means_before(x: Tensor) -> Tensor:
    """The mean of x[s] over s < t for every t (*B, T, W), zeros at first."""
    count = torch.arange(x.shape[-2], device=x.device).clamp(min=1)
    return sums_before(x) / count[:, None]


def means_so_far(x: Tensor) -> Tensor:
    """The mean of x[s] over s ≤ t for every t (*B, T, W)."""
    return x.cumsum(-2) / torch.arange(1, x.shape[-2] + 1, device=x.device)[:, None]
