"""Means of parameters over a fit, which stand in for the parameters wherever these are scored or kept as the best.

`last(n)` is the mean of those at the ends of the last n epochs (Vaswani et al. 2017); `ema(d)` the mean over all steps, where
each has d of the weight of the next, less at first, when few have been made (Polyak and Juditsky 1992; Tarvainen 2017).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vispec.train.setup.settings import Settings
from vispec.train.store.checkpoint import Tensors


class Average:
    """The mean of one restart's parameters. kept: the copies that it is made of, oldest first; of `ema` there is one."""

    def __init__(self, module: nn.Module, settings: Settings):
        self.kind, self.over = settings.average, settings.average_over or 0
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.kept: list[Tensors] = []

    def step(self, number: int) -> None:
        """After optimiser step `number`, counted from 0."""
        if self.kind != "ema":
            return
        if not self.kept:
            self.kept = [self._copy()]
        weight = min(self.over, (1 + number) / (10 + number))
        get_ema_multi_avg_fn(weight)([*self.kept[0].values()], [p.detach() for p in self.parameters.values()], number)

    def epoch(self) -> None:
        """After an epoch."""
        if self.kind == "last":
            self.kept = [*self.kept, self._copy()][-int(self.over) :]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the parameters are their means."""
        if not self.kept:
            yield
            return
        before = self._copy()
        self._put({name: torch.stack([each[name] for each in self.kept]).mean(0) for name in self.parameters})
        try:
            yield
        finally:
            self._put(before)

    def _copy(self) -> Tensors:
        return {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def _put(self, values: Tensors) -> None:
        for name, p in self.parameters.items():
            p.copy_(values[name])

    # ---- in checkpoints

    @property
    def state(self) -> Tensors:
        return {f"{number}.{name}": value for number, each in enumerate(self.kept) for name, value in each.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        count = 1 + max((int(name.partition(".")[0]) for name in state), default=-1)
        own = self.parameters
        self.kept = [{name: state[f"{number}.{name}"].to(own[name]) for name in own} for number in range(count)]
