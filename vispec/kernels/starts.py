"""Starts from a sample of the data: a law's parameters from elements, in groups, and groups for what is latent."""

import torch
from torch import Tensor


def by_group(start, value: Tensor, at: tuple, now: tuple, *told: Tensor | int, among: Tensor | None = None) -> list[Tensor]:
    """The parameters of a law, each (*G, *event), that `start` finds in the elements (N, *event) of each group.

    at: for each dimension of G where in it an element belongs, (N,) or one for all. now: what the parameters are, None for
    those not asked for; there stays what the elements do not tell. told: what else start reads, (N, ...) or one for all.
    among (N,): which elements the groups have, all without it.

    A group's parameters are drawn towards those of all elements as by one element of these, so that a group of few has no
    extreme ones; a group of none has those of all."""
    if not len(value):
        return [old for old in now if old is not None]
    whole = start(value, *told)
    sizes = next(each.shape[: len(at)] for each in now if each is not None)
    found = [each.expand(sizes.numel(), *each.shape).clone() for each in whole]
    key = torch.zeros(len(value), dtype=torch.long, device=value.device)
    for size, index in zip(sizes, at, strict=True):
        key = key * size + index
    if among is not None:
        key = torch.where(among, key, -1)
    order = key.argsort()
    groups, counts = key[order].unique_consecutive(return_counts=True)
    for group, rows in zip(groups.tolist(), order.split(counts.tolist()), strict=True):
        if group < 0 or len(rows) == len(value):
            continue
        own = start(value[rows], *(each[rows] if isinstance(each, Tensor) and each.dim() else each for each in told))
        for table, mine, all_ in zip(found, own, whole, strict=True):
            both = (len(rows) * mine + all_) / (len(rows) + 1)
            table[group] = torch.where(both.isfinite(), both, torch.where(mine.isfinite(), mine, all_))
    return [kept(each.reshape(sizes + each.shape[1:]), old) for each, old in zip(found, now, strict=True) if old is not None]


def kept(found: Tensor, old: Tensor) -> Tensor:
    """What was found in the shape of the old, the mean where one number stands for several; the old where it is not finite."""
    while found.dim() > old.dim():
        found = found.nanmean(-1)
    return torch.where(found.isfinite(), found, old)


def clusters(
    count: int,
    numbers: list[Tensor],
    shares: list[Tensor] | None = None,
    inside: Tensor | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Which of `count` clusters each element is in, (*P) for elements with what numbers (*P, ...) and shares (*P, ...) say.

    Each of the numbers is standardised, while shares (bits, frequencies), which know no units, keep their relative spread; nan
    is what nobody knows. inside (*P): which elements count, all along one axis without it; the others are in cluster 0.
    known (*P): the clusters of those that have one, -1 for the others.

    k-means with the seeds of k-means++, each the best of a few (Arthur and Vassilvitskii 2007), on as few elements as tell: the
    clusters of all are often the same in each restart, and need not be where the likelihood is highest."""
    parts = [(part, True) for part in numbers] + [(part, False) for part in shares or []]
    if inside is None:
        inside = torch.ones(len(parts[0][0]), dtype=torch.bool, device=parts[0][0].device)
    labels = torch.zeros_like(inside, dtype=torch.long)
    rows = int(inside.sum())
    if not rows:
        return labels
    x = torch.cat([standardised(part[inside].reshape(rows, -1), apart) for part, apart in parts], -1)
    if x.shape[1] > 200:  # random directions keep distances (Johnson and Lindenstrauss 1984)
        x = x @ torch.randn(x.shape[1], 200, dtype=x.dtype, device=x.device)
    fixed = torch.full((rows,), -1, device=x.device) if known is None else known[inside]
    some = torch.randperm(rows, device=x.device)[: 20 * count]
    some = torch.cat([some, (fixed >= 0).nonzero()[:, 0]])
    centres = k_means(x[some], count, fixed[some])
    labels[inside] = torch.where(fixed >= 0, fixed, nearest(x, centres))
    return labels


def standardised(x: Tensor, apart: bool) -> Tensor:
    """x (N, F) minus its mean, over its deviation, each column by its own or all by that of all; 0 where it is not finite, and
    in a column that does not vary."""
    x = x.masked_fill(~x.isfinite(), torch.nan)
    varies = x.nan_to_num(nan=-torch.inf).amax(0) > x.nan_to_num(nan=torch.inf).amin(0)  # rounding may give others a deviation
    error = (x - x.nanmean(0)).where(varies, 0.0)
    variance = error.square().nanmean(0) if apart else error.square().nanmean()
    return (error / variance.sqrt()).nan_to_num(nan=0.0)


def k_means(x: Tensor, count: int, fixed: Tensor) -> Tensor:
    """Centres (count, F); elements with fixed (N,) ≥ 0 are in that cluster, whose seed is their mean."""
    seen = fixed[fixed >= 0].unique().tolist()
    centres = torch.stack([x[fixed == k].mean(0) for k in seen]) if seen else x[torch.randint(len(x), (1,), device=x.device)]
    while len(centres) < count:
        distance = torch.cdist(x, centres).square().amin(-1)
        chance = torch.where(distance.sum() > 0, distance, 1.0)  # there may be fewer different elements than clusters
        tried = x[torch.multinomial(chance, 2 + count.bit_length(), replacement=True)]
        left = torch.minimum(torch.cdist(x, tried).square(), distance[:, None]).sum(0)
        centres = torch.cat([centres, tried[left.argmin()][None]])
    if seen:
        rest = [k for k in range(count) if k not in seen]
        centres = centres[torch.tensor([*seen, *rest]).argsort().to(x.device)]
    for _ in range(10):
        label = torch.where(fixed >= 0, fixed, nearest(x, centres))
        size = torch.bincount(label, minlength=count)[:, None]
        centres = torch.where(size > 0, torch.zeros_like(centres).index_add_(0, label, x) / size, centres)
    return centres


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """Index (N,) of the centre next to each element; any of several that are as near."""
    distance = torch.cdist(x, centres)
    near = distance == distance.amin(-1, keepdim=True)
    return torch.where(near, torch.rand_like(distance), -1.0).argmax(-1)


def frequencies(value: Tensor, size: int, lead: int, inside: Tensor, like: Tensor) -> Tensor:
    """How often each of `size` values is among those of an element, (*P, size), for value and inside (*P, ...) with `lead`
    dimensions P; in the dtype of `like`, nan where there are none."""
    inside = inside.expand(value.shape).flatten(lead).to(like.dtype)
    count = inside.new_zeros(*value.shape[:lead], size).scatter_add_(-1, value.flatten(lead), inside)
    return count / inside.sum(-1, keepdim=True)


def by_group_among(start, value: Tensor, plates: int, at: tuple, now: tuple, *told, inside=None, among=None) -> list[Tensor]:
    """As by_group, of elements (*P, *event) with so many dimensions P.

    inside: which elements count, all without it; among: those of them that the groups have; at: for each dimension of the
    groups; all broadcast to P. told: (*P, ...) or one for all."""
    sizes = value.shape[:plates]
    counts = torch.ones(sizes, dtype=torch.bool, device=value.device) if inside is None else inside.expand(sizes)
    each = tuple(index.expand(sizes)[counts] if isinstance(index, Tensor) else index for index in at)
    known = [x[counts] if isinstance(x, Tensor) and x.dim() else x for x in told]
    chosen = None if among is None else among.expand(sizes)[counts]
    return by_group(start, value[counts], each, now, *known, among=chosen)
