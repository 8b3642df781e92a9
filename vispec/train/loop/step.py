"""One optimiser step: loss per row, backward, exchange between processes, check, clip, update."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vispec.train.scores.counted import total
from vispec.train.scores.evaluate import Rows
from vispec.train.setup.distributed import Group
from vispec.train.setup.optimisers import drop_denormals, needs_closure
from vispec.train.setup.settings import Settings
from vispec.train.store.module import to_device

Array = np.ndarray[Any, Any]
Parts = list[tuple[dict[str, Tensor], float]]  # rows on the module's device, and their share of the minibatch
WALL = 1e6  # times the first loss of a line search: what it is told where the loss is infinite
SURE = 1e37  # sums of squares below it overflow in no order; to see that takes half the time of the norm on a CPU
SWEEP = 50  # steps between two searches for denormal numbers: a thirtieth of their cost, and few have come up since


@dataclass(frozen=True)
class Outcome:
    """loss: nats per row, before the update. norm: of its gradient, before clipping; None where it is finite and nobody asks.
    signals: summed over processes."""

    loss: float
    norm: float | None
    signals: tuple[float, ...]

    @property
    def finite(self) -> bool:
        return abs(self.loss) < float("inf") and (self.norm is None or abs(self.norm) < float("inf"))


class Stepper:
    """Steps of one module and optimiser. The loss is module.loss(batch, N) by how many rows the data stand for: nats per row,
    so that no rate depends on N."""

    def __init__(
        self, module: nn.Module, optimiser: torch.optim.Optimizer, settings: Settings, data: Rows, steps: int, group: Group
    ):
        self.module, self.optimiser, self.settings, self.data, self.steps, self.group = (
            module, optimiser, settings, data, steps, group,
        )  # fmt: skip
        self.count = total(data)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.base_rates = [group["lr"] for group in optimiser.param_groups]
        self.device = next((p.device for p in module.parameters()), torch.device("cpu"))
        self.whole: Parts | None = None  # of the minibatch where there is only one, built once
        self.message: Tensor | None = None  # what processes exchange

    def __call__(
        self,
        indices: Array,
        step: int,
        steps_per_epoch: int,
        signals: tuple[float, ...],
        share: float = 1.0,
        asked: bool = True,
    ) -> Outcome:
        """Step number `step` of the restart on the rows at `indices` (M,), at this share of its rate. A step that is not finite
        changes no parameter. asked: whether the gradient's norm is."""
        self._schedule(step, steps_per_epoch, share)
        parts = self._parts(indices, steps_per_epoch)
        even = self.settings.tokens is None  # else minibatches differ in rows, and each row is to count alike
        weight = 1.0 if even else len(indices) * steps_per_epoch / self.data.num_rows
        if needs_closure(self.optimiser):
            return self._search(parts, weight, signals)
        loss, signals = self._gradient(parts, weight, signals)
        outcome = Outcome(loss, self._clip(asked), signals)
        if outcome.finite:
            self.optimiser.step()
        if step % SWEEP == SWEEP - 1:
            drop_denormals(self.optimiser)
        return outcome

    def _search(self, parts: Parts, weight: float, signals: tuple[float, ...]) -> Outcome:
        """A step that evaluates the loss several times; the outcome is that of the first."""
        outcomes: list[Outcome] = []

        def closure() -> float:
            loss, summed = self._gradient(parts, weight, signals)
            outcomes.append(Outcome(loss, self._clip(), summed))
            first = outcomes[0].loss
            if outcomes[-1].finite or len(outcomes) == 1:
                return loss
            for parameter in self.parameters:  # too far: the line search, which cannot take an infinite value, takes a wall
                parameter.grad = torch.zeros_like(parameter)
            return first + WALL * (1 + abs(first))

        before = [p.detach().clone() for p in self.parameters]
        self.optimiser.step(closure)
        if not all(bool(p.isfinite().all()) for p in self.parameters):
            with torch.no_grad():
                for parameter, old in zip(self.parameters, before, strict=True):
                    parameter.copy_(old)
            return Outcome(float("nan"), outcomes[0].norm, outcomes[0].signals)
        return outcomes[0]

    def _schedule(self, step: int, steps_per_epoch: int, share: float) -> None:
        """Set the learning rates and the annealed weights of this step."""
        factor = share * self.settings.rate(step, self.steps)
        for group, rate in zip(self.optimiser.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        for anneal in self.settings.anneal:
            setattr(self.module, anneal.attribute, anneal.value(self.settings.phase(step, self.steps), steps_per_epoch))

    def _parts(self, indices: Array, steps_per_epoch: int) -> Parts:
        """What this process goes through of a minibatch, part by part: none where there are fewer rows than processes."""
        if self.whole is not None:
            return self.whole
        own, count = self.group.share(indices), self.settings.accumulate
        parts = [part for part in (np.array_split(own, count) if count > 1 else [own]) if len(part)]
        found = [(to_device(self.data.batch(part), self.device), len(part) / len(indices)) for part in parts]
        if steps_per_epoch == 1:
            self.whole = found
        return found

    def _gradient(self, parts: Parts, weight: float, signals: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
        """Leave the gradient of the loss per row, times a weight, in the parameters; return the loss and the summed signals."""
        for parameter in self.parameters:
            parameter.grad = None
        found = 0.0
        for batch, share in parts:
            loss = self.module.loss(batch, num_data=self.data.num_rows) * (share / self.count)  # pyright: ignore[reportCallIssue]
            (loss if weight == 1 else loss * weight).backward()
            found += float(loss.detach())
        return self._exchange(found, signals)

    def _exchange(self, loss: float, signals: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
        """Sum gradients, loss and signals over the processes, in one message."""
        if self.group.world == 1:
            return loss, signals
        used = [float(p.grad is not None) for p in self.parameters]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self.parameters]
        extra = torch.tensor([loss, *signals, *used], dtype=parts[0].dtype, device=self.device)
        if self.message is None:  # kept: to find memory for it takes as long as to fill it
            self.message = torch.cat([*parts, extra])
        message = self.group.sum_(torch.cat([*parts, extra], out=self.message))
        numbers = message[len(message) - len(extra) :].tolist()
        position = 0
        for parameter, count in zip(self.parameters, numbers[1 + len(signals) :], strict=True):
            end = position + parameter.numel()
            parameter.grad = message[position:end].view_as(parameter) if count else None
            position = end
        return numbers[0], tuple(numbers[1 : 1 + len(signals)])

    def _clip(self, asked: bool = True) -> float | None:
        """The gradient's norm, after which it is no longer than `clip`; None where it is not asked for and surely finite."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if not asked and self.settings.clip is None and self.device.type == "cpu" and sum(map(squares, gradients)) < SURE:
            return None
        norms = torch._foreach_norm(gradients) if gradients else []  # pyright: ignore[reportPrivateImportUsage]
        norm = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
        if self.settings.clip is not None and bool(norm.isfinite()):
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.settings.clip, norm)
        return float(norm)


def squares(x: Tensor) -> float:
    """The sum of all squares."""
    flat = x.reshape(-1)
    return float(flat.dot(flat))
