"""What a second-order fit minimises: minus the log-probability of all rows, as a function of one vector of free numbers.

The vector (d,) holds the module's trainable parameters, flattened in their order, in the unconstrained space that they are stored
in. Everything is in nats for the whole data set and, as the module, in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from vispec.train.scores.evaluate import Rows
from vispec.train.store.module import to_device


@dataclass(frozen=True)
class Slot:
    """Where a parameter's numbers stand in the vector: `name` as in the module's state, from `start` to `stop`."""

    name: str
    shape: torch.Size
    start: int
    stop: int


class Objective:
    """Minus log p of all rows and its gradient; infinite, with no gradient, wherever it or its gradient is not finite."""

    def __init__(self, module: nn.Module, data: Rows, device: torch.device, before: Callable[[], None] | None = None):
        """before: called ahead of each evaluation, where it may raise to stop the search."""
        self.module, self.before, self.evaluations = module, before, 0
        self.num_data = data.num_rows
        self.batch = to_device(data.batch(torch.arange(data.num_rows).numpy()), device)
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
        if self.before is not None:
            self.before()
        self.put(x)
        self.evaluations += 1
        with torch.enable_grad():
            loss = self.module.loss(self.batch, num_data=self.num_data)  # pyright: ignore[reportCallIssue]
            leaves = [p for _, p in self.parameters]
            found: Sequence[Tensor] = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        gradient = torch.cat([g.reshape(-1) for g in found])
        value = float(loss.detach())
        if not (abs(value) < inf and bool(gradient.isfinite().all())):
            return inf, torch.zeros_like(x)
        return value, gradient
