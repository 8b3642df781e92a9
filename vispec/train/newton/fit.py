"""A fit of an exact objective by second-order steps from several starts, to the end of its run folder.

It needs no rate and no number of epochs: it ends by the Newton decrement, which is the distance to the local maximum in nats.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vispec.diagnostics import dump
from vispec.train.errors import InterruptionError
from vispec.train.loop.diverged import diverged
from vispec.train.loop.signals import Stop
from vispec.train.newton.improper import improper, thin_spreads
from vispec.train.newton.objective import Objective, StopSearch
from vispec.train.newton.report import ending, progress
from vispec.train.newton.search import Climb, Search
from vispec.train.newton.starts import started, starting_point
from vispec.train.scores.final import final_score
from vispec.train.setup.job import INIT, SAMPLE, Job, Result
from vispec.train.setup.seeds import derive, generator
from vispec.train.store.checkpoint import Checkpoint, Counters, Tensors, write_tensors
from vispec.train.store.metrics import Metrics
from vispec.train.store.module import to_device


class Finder:
    """One such fit in progress."""

    def __init__(self, job: Job, checkpoint: Checkpoint | None, stop: Stop):
        self.job, self.stop = job, stop
        self.counters = checkpoint.counters if checkpoint else Counters(world=job.group.world)
        self.started = time.monotonic() - self.counters.seconds
        self.saved = time.monotonic()
        self.module = job.build().to(job.device, torch.float64).train()
        self.objective = Objective(self.module, job.train, job.device, job.group, lambda: stop.asked)
        self.search = Search(
            self.objective,
            self._start,
            asked=job.settings.restarts,
            thin=lambda x: self._judged(thin_spreads, x),
            judge=lambda x: self._judged(improper, x),
            rounds=job.settings.epochs,
            climbs=[reopened(each, job) for each in checkpoint.optimiser["climbs"]] if checkpoint else [],
        )
        self.metrics = (
            Metrics(job.folder, self.counters.metrics, self.counters.total_steps, job.reporter.say) if job.group.main else None
        )

    def run(self) -> Result:
        """All climbs, then the final scores."""
        job = self.job
        job.reporter.start(self.search.count, sum(bool(climb.ended) for climb in self.search.climbs))
        try:
            while (at := self.search.advance()) is not None:
                self._told(at)
                if job.group.pick(time.monotonic() - self.saved >= job.settings.save_every):
                    self._save()
        except StopSearch:
            self._save()
            raise InterruptionError(job.folder) from None
        return self._finish()

    def _start(self, number: int) -> Tensor:
        """The start of a climb: a fresh module, and what it takes from a sample of the data."""
        job, seed = self.job, self.job.settings.seed
        torch.manual_seed(derive(seed, number, INIT))
        self.module.load_state_dict(job.build().to(job.device, torch.float64).state_dict())
        rows = job.train.order(SAMPLE, generator(seed, number, INIT))[0]
        rows.sort()
        prepare = started(to_device(job.train.batch(rows), job.device), job.start)
        return job.group.same_(starting_point(self.objective, prepare, number, job.train.num_rows))

    @cached_property
    def _rows(self) -> dict[str, Tensor]:
        """All rows, of which the objective has a part where there are several processes."""
        job = self.job
        if job.group.world == 1:
            return self.objective.batch
        return to_device(job.train.batch(np.arange(job.train.num_rows)), job.device)

    def _judged(self, judge: Callable[..., tuple[str, ...]], x: Tensor) -> tuple[str, ...]:
        """What is improper at x (d,), the same on every process: each goes on by it."""
        self.objective.put(x)
        return self.job.group.pick(judge(self.job.model, self.module, self._rows))

    def _told(self, at: int) -> None:
        """A line of metrics, and of progress."""
        c, climb = self.counters, self.search.climbs[at]
        c.total_steps += 1
        per_row = -climb.state.value / max(1, self.job.train.num_rows)
        place = {"restart": at, "epoch": climb.rounds, "step": c.total_steps}
        line = {"event": "epoch", **place, "seconds": time.monotonic() - self.started, "train": {"log_prob_per_row": per_row}}
        if self.metrics is not None:
            self.metrics.write(line | {"decrement": climb.state.decrement, "ended": climb.ended or None}, c.total_steps)
        self.job.reporter.step(sum(bool(climb.ended) for climb in self.search.climbs))
        self.job.reporter.epoch(progress(climb, at, self.search.count), False)

    def _finish(self) -> Result:
        """The scores of the best climb, its parameters in best.safetensors, and the last checkpoint marked as finished."""
        c, job, chosen = self.counters, self.job, self.search.best
        if chosen is None:
            raise self._failed()
        self.objective.put(chosen.state.x)
        train = self._final(job.train)
        valid = None if job.valid is None else self._final(job.valid)
        self.objective.put(chosen.state.x)
        c.finished, c.seconds, c.best = True, time.monotonic() - self.started, train.per_row
        found = ending(self.search, chosen)
        rounds = sum(climb.rounds for climb in self.search.climbs)
        result = Result(rounds, c.total_steps, c.seconds, train, valid, found)
        if self.metrics is not None:
            self.metrics.write({"event": "end"} | result.as_json(), c.total_steps)
        self._save()
        return result

    def _failed(self) -> Exception:
        """Why no start has a finite objective."""
        self.objective.put(self.search.climbs[0].state.x)
        return diverged(
            self.module, self.objective.batch, self.objective.rows, float("inf"), "at the start", self.job.variables
        )

    def _final(self, data: Any) -> Any:
        job = self.job
        return final_score(self.module, data, job.settings.batch or 1, job.device, job.latents, job.group)

    def _save(self) -> None:
        """last.safetensors, from which alone a fit resumes, and best.safetensors at its end."""
        c, job, chosen = self.counters, self.job, self.search.front
        if chosen is not None:
            self.objective.put(chosen.state.x)
        if self.metrics is not None:
            os.fsync(self.metrics.file.fileno())
            c.metrics, c.seconds = self.metrics.size, time.monotonic() - self.started
            model: Tensors = dict(self.module.state_dict())
            climbs = {"climbs": [climb.as_dict() for climb in self.search.climbs]}
            if c.finished:
                header = {"restart": 0, "epoch": 0, "log_prob_per_row": c.best}
                write_tensors(job.folder / "best.safetensors", model, {"best": dump(header)})
            Checkpoint(c, model, model if c.finished else None, climbs, {}).write(job.folder / "last.safetensors")
        self.saved = time.monotonic()

    def close(self) -> None:
        self.job.reporter.close()
        if self.metrics is not None:
            self.metrics.close()


def reopened(stored: dict[str, Any], job: Job) -> Climb:
    """A climb of a checkpoint; one that had all its rounds goes on where there are more now."""
    climb = Climb.of_dict(stored, job.device)
    more = climb.ended == "long" and job.settings.epochs is not None and climb.rounds < job.settings.epochs
    return replace(climb, ended="", notes=()) if more else climb
