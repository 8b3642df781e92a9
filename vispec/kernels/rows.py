"""Rows of a batch."""

from torch import Tensor


def take_rows(batch: dict[str, Tensor], rows: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The batch with only the chosen rows (B,) of its entries `names`."""
    return {name: value[rows] if name in names else value for name, value in batch.items()}


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


def longest(lengths: Tensor) -> int:
    """How many elements the longest row has, at least one."""
    return max(int(lengths.max()), 1)


def up_to_the_ends(value: Tensor, inside: Tensor) -> Tensor:
    """value (*B, *rest) where elements count, inside (*B), and 0 past the ends of rows."""
    return value.masked_fill(~inside.view(*inside.shape, *[1] * (value.dim() - inside.dim())), 0)
