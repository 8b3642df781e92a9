"""The numbers that an information is about: where each parameter's stand in the vector, and where the ends of their domains
are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vispec.train.estimates.nodes import Node
from vispec.train.estimates.uncertainty.bounds import Coordinates
from vispec.train.newton.objective import Objective, Slot
from vispec.train.scores.evaluate import Rows


@dataclass(frozen=True)
class Part:
    """Some rows of a data set, as the objective wants them, with floating numbers in float64."""

    data: Rows
    rows: Tensor

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def batch(self, indices: object) -> dict[str, Tensor]:
        found = self.data.batch(self.rows[torch.as_tensor(indices)].numpy())
        return {name: value.double() if value.is_floating_point() else value for name, value in found.items()}


class Whole:
    """Minus the log-probability of rows as a function of the free numbers (d,), in parts that are computed one after
    another."""

    def __init__(self, module: nn.Module, data: Rows, parts: Sequence[Any]):
        """parts: the rows of each, as `Rows.order` gives them."""
        self.parts = [Objective(module, Part(data, torch.as_tensor(rows)), torch.device("cpu")) for rows in parts]

    @property
    def slots(self) -> tuple[Slot, ...]:
        return self.parts[0].slots

    def vector(self) -> Tensor:
        return self.parts[0].vector()

    def put(self, x: Tensor) -> None:
        self.parts[0].put(x)

    def __call__(self, x: Tensor) -> tuple[float, Tensor]:
        """The value at x (d,) and its gradient (d,); infinite with no gradient where a part is."""
        total, gradient = 0.0, torch.zeros_like(x)
        for part in self.parts:
            value, slope = part(x)
            total += value
            gradient += slope
        return (total, gradient) if total < float("inf") else (float("inf"), torch.zeros_like(x))


def places(node: Node, slots: Sequence[Slot]) -> Slot | None:
    """Where a parameter's numbers stand in the vector; None where it is kept as it is, or decided by others."""
    return next((slot for slot in slots if slot.name == node.attribute), None)


def coordinates(nodes: Sequence[Node], module: nn.Module, slots: Sequence[Slot], size: int) -> Coordinates:
    """The ends of the domains of all numbers (size,); those of nets have none."""
    below, above, open_ = (torch.zeros(size, dtype=torch.bool) for _ in range(3))
    constrained = torch.full((size,), 0.5, dtype=torch.float64)
    for node in nodes:
        slot = places(node, slots)
        if slot is None:
            continue
        value = node.value(module).detach()
        for index, i in numbered(node, slot):
            edge = node.edge(index)
            below[i], above[i], open_[i] = edge != "", edge == "unit", edge in ("ray", "step")
            constrained[i] = value[index]
    return Coordinates(below, above, open_, constrained)


def numbered(node: Node, slot: Slot) -> Iterator[tuple[tuple[int, ...], int]]:
    """Each number's index in the node and its place in the vector."""
    for i, index in enumerate(np.ndindex(*slot.shape)):
        yield index, slot.start + i
