"""Rows of a batch."""

import torch
from torch import Tensor


def along_lengths(each: Tensor, length: Tensor | None, dims: int) -> Tensor:
    """Numbers (*A, ...), with so many dimensions behind A, along the axes of lengths (*B) too."""
    around, own = each.shape[: each.dim() - dims], each.shape[each.dim() - dims :]
    return (
        each if length is None or around == length.shape else each.expand(*torch.broadcast_shapes(around, length.shape), *own)
    )


def take_rows(batch: dict[str, Tensor], rows: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The batch with only the chosen rows (B,) of its entries `names`."""
    return {name: value[rows] if name in names else value for name, value in batch.items()}


def by_rows(
    few: Tensor,
    batch: dict[str, Tensor],
    exactly,
    otherwise,
    names: tuple[str, ...],
    along: dict[str, int],
    lengths: str,
    *told,
) -> Tensor:
    """For each row (B,) what one function of a batch says of the few, and another of all others. told: what both read beside.

    names: entries with rows. along: of those with a plate of these lengths, which dimension it is; the few are shorter."""
    if not few.any():
        return otherwise(batch, *told)
    if few.all():
        return exactly(shortened(batch, along, lengths), *told)
    found = exactly(shortened(take_rows(batch, few, names), along, lengths), *told)
    rest = otherwise(take_rows(batch, ~few, names), *told)
    return found.new_empty(len(few)).masked_scatter(few, found).masked_scatter(~few, rest)


def shortened(batch: dict[str, Tensor], along: dict[str, int], lengths: str) -> dict[str, Tensor]:
    """The batch without the columns past the end of all rows."""
    if not along:
        return batch
    longest = int(batch[lengths].max())
    return {name: value.narrow(along[name], 0, longest) if name in along else value for name, value in batch.items()}


def has_few_values(elements: Tensor, values: int, most: int) -> Tensor:
    """Whether so many elements (*B) of so many values each have no more joint values than `most`."""
    longest = 0
    while values > 1 and values ** (longest + 1) <= most:
        longest += 1
    return elements <= longest if values > 1 else elements >= 0


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


def up_to_the_ends(value: Tensor, inside: Tensor) -> Tensor:
    """value (*B, *rest) where elements count, inside (*B), and 0 past the ends of rows."""
    return value.masked_fill(~inside.view(*inside.shape, *[1] * (value.dim() - inside.dim())), 0)
