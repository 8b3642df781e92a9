"""A fit to do, and what comes of it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vispec.model.model import Model
from vispec.train.loop.progress import Reporter
from vispec.train.scores.evaluate import Rows, Score
from vispec.train.scores.final import Latents
from vispec.train.setup.distributed import Group
from vispec.train.setup.settings import Settings
from vispec.train.store.checkpoint import Tensors

INIT, DRAWS, ORDER = 0, 1, 2  # the streams of random numbers that one seed gives rise to
SAMPLE = 1000  # rows at most from which a module chooses its start


@dataclass(frozen=True)
class Job:
    """A fit to do. build: makes a fresh module. settings: resolved, so that epochs, batch and lr are numbers."""

    folder: Path
    build: Callable[[], nn.Module]
    settings: Settings
    train: Rows
    valid: Rows | None
    device: torch.device
    group: Group
    reporter: Reporter
    variables: tuple[str, ...] = ()  # of the spec, to name one where a fit diverges
    start: Tensors | None = None  # stored numbers to start at; parameters that are not in it start afresh
    latents: Latents = field(default_factory=Latents)
    model: Model | None = None  # the checked spec, to tell improper maxima by
    goes_out: bool = False  # whether the start is that of another run
    halted: Callable[[], bool] = bool  # whether something but the user wants the fit to stop

    @property
    def dtype(self) -> torch.dtype:
        """Of the module's numbers."""
        return getattr(torch, self.settings.numbers)


@dataclass(frozen=True)
class Ending:
    """How a fit ended. converged: whether at a local maximum, None where nothing can be said of that. decrement: nats below it
    at most. starts: the log-probabilities of the maxima reached, best first, with how many starts came there. notes: what a
    reader of the result should know. text: one line."""

    converged: bool | None = None
    decrement: float | None = None
    starts: tuple[tuple[float, int], ...] = ()
    notes: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Result:
    """The scores are those of the parameters in best.safetensors; epochs and steps count over all restarts."""

    epochs: int
    steps: int
    seconds: float
    train: Score
    valid: Score | None
    ending: Ending = field(default_factory=Ending)

    def as_json(self) -> dict[str, Any]:
        valid = None if self.valid is None else self.valid.as_json()
        return {
            "epochs": self.epochs,
            "steps": self.steps,
            "seconds": self.seconds,
            "train": self.train.as_json(),
            "valid": valid,
            **asdict(self.ending),
        }
