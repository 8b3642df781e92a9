"""What a second-order fit minimises: minus the log-probability of all rows, as a function of one vector of free numbers.

The vector (d,) holds the module's trainable parameters, flattened in their order, in the unconstrained space that they are
stored in. Everything is in nats for the whole data set and, as the module, in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vispec.train.scores.counted import total
from vispec.train.scores.diagnostics import Data
from vispec.train.setup.distributed import Group
from vispec.train.store.module import to_device


class StopSearch(Exception):  # noqa: N818
    """The user asked for the end of a search; the last state is the one to go on from."""


Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Slot:
    """Where a parameter's numbers stand in the vector: `name` as in the module's state, from `start` to `stop`."""

    name: str
    shape: torch.Size
    start: int
    stop: int


class Objective:
    """Minus log p of all rows and its gradient; infinite, with no gradient, wherever it or its gradient is not finite.

    Of several processes, each holds a part of the rows, and all get the sum."""

    def __init__(
        self,
        module: nn.Module,
        data: Data,
        device: torch.device,
        group: Group | None = None,
        asked: Callable[[], bool] = lambda: False,
        rows: Array | None = None,
    ):
        """asked: whether the user wants it to end, which raises StopSearch at the next evaluation, on all processes. rows:
        those of the data that count, all without it."""
        self.module, self.asked, self.evaluations, self.group = module, asked, 0, group or Group()
        self.counted = np.arange(data.num_rows) if rows is None else rows
        self.count, self.rows = total(data, self.counted), self.group.share(self.counted)
        self.batch = to_device(data.batch(self.rows), device)
        self.parameters = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        ends = torch.tensor([p.numel() for _, p in self.parameters]).cumsum(0).tolist()
        self.slots = tuple(
            Slot(name, p.shape, end - p.numel(), end) for (name, p), end in zip(self.parameters, ends, strict=True)
        )
        self.size: int = ends[-1] if ends else 0

    def vector(self) -> Tensor:
        """The module's parameters as they are (d,)."""
        return torch.cat([p.detach().reshape(-1) for _, p in self.parameters]).clone()

    def put(self, x: Tensor) -> None:
        """Write x (d,) into the module."""
        with torch.no_grad():
            for (_, parameter), slot in zip(self.parameters, self.slots, strict=True):
                parameter.copy_(x[slot.start : slot.stop].view(slot.shape))

    def __call__(self, x: Tensor) -> tuple[float, Tensor]:
        """The value at x (d,) and its gradient (d,). Leaves x in the module."""
        self.put(x)
        self.evaluations += 1
        message = torch.cat([*self.own(), x.new_tensor([float(self.asked())])])
        total = self.group.sum_(message)
        if total[-1] > 0:
            raise StopSearch
        value, gradient = float(total[0]), total[1:-1]
        if not (abs(value) < inf and bool(gradient.isfinite().all())):
            return inf, torch.zeros_like(x)
        return value, gradient

    def own(self) -> tuple[Tensor, Tensor]:
        """The value (1,) and the gradient (d,) of this process's rows."""
        leaves = [p for _, p in self.parameters]
        if not len(self.rows):
            return leaves[0].new_zeros(1), leaves[0].new_zeros(self.size)
        with torch.enable_grad():
            loss = self.module.loss(self.batch, num_data=len(self.rows))  # pyright: ignore[reportCallIssue]
            if not loss.requires_grad:  # no parameter has a part in it
                return loss.detach().reshape(1), leaves[0].new_zeros(self.size)
            found: Sequence[Tensor] = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        return loss.detach().reshape(1), torch.cat([g.reshape(-1) for g in found])
