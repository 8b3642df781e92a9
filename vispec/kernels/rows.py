"""Rows of a batch."""

from torch import Tensor


def take_rows(batch: dict[str, Tensor], rows: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The batch with only the chosen rows (B,) of its entries `names`."""
    return {name: value[rows] if name in names else value for name, value in batch.items()}
