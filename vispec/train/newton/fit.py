"""A fit of an exact objective by second-order steps from several starts, to the end of its run folder.

It needs no rate and no number of epochs: it ends by the Newton decrement, which is the distance to the local maximum in nats.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vispec.diagnostics import dump
from vispec.model.model import Model
from vispec.named import stored as stored_as
from vispec.seeds import derive, generator, reseed
from vispec.train.errors import InterruptionError
from vispec.train.loop.diverged import diverged
from vispec.train.loop.signals import Stop
from vispec.train.newton.improper import improper, thin_spreads
from vispec.train.newton.objective import Objective, StopSearch
from vispec.train.newton.report import ending, progress
from vispec.train.newton.search import Climb, Search
from vispec.train.newton.starts import started, starting_point
from vispec.train.scores.counted import sample
from vispec.train.scores.final import final_score
from vispec.train.setup.job import INIT, SAMPLE, Job, Result
from vispec.train.store.checkpoint import BEST, LAST, Checkpoint, Counters, Tensors, tensor_bytes
from vispec.train.store.manifest import put
from vispec.train.store.metrics import Metrics
from vispec.train.store.module import to_device

Array = np.ndarray[Any, Any]
Judge = Callable[[Model | None, nn.Module, Mapping[str, Tensor]], tuple[str, ...]]

SCOUTS = 3  # the stream of random numbers that chooses rows, beside those of job.py
QUICK = 2e5  # parameters times numbers of data: more of these, and several starts are tried on some of the rows first,
FEWEST, PER_NUMBER = 1000, 10  # on no fewer than so many, and so many for each parameter,
FINISHED = 3  # and the best of the maxima found there, different ones, are taken to their end on all


class Finder:
    """One such fit in progress."""

    def __init__(self, job: Job, checkpoint: Checkpoint | None, stop: Stop):
        self.job, self.stop = job, stop
        self.counters = checkpoint.counters if checkpoint else Counters(world=job.group.world)
        self.started = time.monotonic() - self.counters.seconds
        self.saved = time.monotonic()
        self.module = job.build().to(job.device, torch.float64).train()
        model = job.model
        positive = [p for p in (model.params if model else ()) if p.type.domain == "positive"]
        self.positive = {stored_as(self.module, model, p) for p in positive} if model else set[str]()
        stored = checkpoint.optimiser if checkpoint else {}
        self.objective = self._objective(None)
        some = self._some()
        self.scouts = None if some is None else self._search(self._objective(some), self._drawn, stored.get("scouts", []))
        self.search = self._search(self.objective, self._start, stored.get("climbs", []))
        self.metrics = (
            Metrics(job.folder, self.counters.metrics, self.counters.total_steps, job.reporter.say) if job.group.main else None
        )

    def _objective(self, rows: Array | None) -> Objective:
        job = self.job
        return Objective(self.module, job.train, job.device, job.group, lambda: self.stop.wanted, rows)

    def _search(self, objective: Objective, start: Callable[[Objective, int], Tensor], stored: list[dict[str, Any]]) -> Search:
        """A search with the climbs of a checkpoint."""
        job, batch = self.job, self._whole(objective)
        return Search(
            objective,
            lambda number: start(objective, number),
            asked=job.settings.restarts,
            thin=lambda x: self._judged(objective, thin_spreads, batch, x),
            judge=lambda x: self._judged(objective, improper, batch, x),
            rounds=job.settings.epochs,
            climbs=[reopened(each, job) for each in stored],
        )

    def _some(self) -> Array | None:
        """The rows on which several starts are tried first; None where all are few, or there is one start."""
        job, size = self.job, self.objective.size
        rows, seed = job.train.num_rows, job.settings.seed
        numbers = job.group.pick(sum(value.numel() for value in self.objective.batch.values())) * job.group.world
        count = max(FEWEST, PER_NUMBER * size, int(rows * QUICK / max(1, size * numbers)))
        if (job.settings.restarts or 1) == 1 or 3 * count > rows:
            return None
        return torch.randperm(rows, generator=generator(seed, SCOUTS))[:count].sort().values.numpy()

    def run(self) -> Result:
        """All climbs, then the final scores."""
        try:
            if self.scouts is not None:
                self._climb(self.scouts)
                self.search.asked = min(FINISHED, max(1, len(self.scouts.summits())))
            self._climb(self.search)
        except StopSearch:
            self._save()
            raise InterruptionError(self.job.folder) from None
        return self._finish()

    def _climb(self, search: Search) -> None:
        """All climbs of a search."""
        job = self.job
        job.reporter.start(search.count, sum(bool(climb.ended) for climb in search.climbs))
        while (at := search.advance()) is not None:
            self._told(search, at)
            if job.group.pick(time.monotonic() - self.saved >= job.settings.save_every):
                self._save()

    def _start(self, objective: Objective, number: int) -> Tensor:
        """The start of a climb on all rows: what was found on some of them, or a drawn one."""
        found = [] if self.scouts is None else self.scouts.summits()
        return found[number] if number < len(found) else self._drawn(objective, number)

    def _drawn(self, objective: Objective, number: int) -> Tensor:
        """A fresh module, and what it takes from a sample of the data."""
        job, seed = self.job, self.job.settings.seed
        reseed(derive(seed, number, INIT))
        self.module.load_state_dict(job.build().to(job.device, torch.float64).state_dict())
        rows = sample(job.train, SAMPLE, generator(seed, number, INIT))
        prepare = started(to_device(job.train.batch(rows), job.device), job.start)
        return job.group.same_(starting_point(objective, prepare, number, objective.count, self.positive, set(job.start or ())))

    def _whole(self, objective: Objective) -> dict[str, Tensor]:
        """All rows that an objective counts, of which each process has a part."""
        job = self.job
        return objective.batch if job.group.world == 1 else to_device(job.train.batch(objective.counted), job.device)

    def _judged(self, objective: Objective, judge: Judge, batch: dict[str, Tensor], x: Tensor) -> tuple[str, ...]:
        """What is improper at x (d,), the same on every process: each goes on by it."""
        objective.put(x)
        return self.job.group.pick(judge(self.job.model, self.module, batch))

    def _told(self, search: Search, at: int) -> None:
        """A line of metrics, and of progress."""
        c, climb = self.counters, search.climbs[at]
        c.total_steps += 1
        per_row = -climb.state.value / max(1, search.objective.count)
        place = {"restart": at, "epoch": climb.rounds, "step": c.total_steps}
        line = {"event": "epoch", **place, "seconds": time.monotonic() - self.started, "train": {"log_prob_per_row": per_row}}
        if self.metrics is not None:
            self.metrics.write(line | {"decrement": climb.state.decrement, "ended": climb.ended or None}, c.total_steps)
        self.job.reporter.step(sum(bool(climb.ended) for climb in search.climbs))
        self.job.reporter.epoch(progress(climb, at, search.count), False)

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
        found = ending(self.search, chosen, self.scouts)
        climbs = [*(self.scouts.climbs if self.scouts else ()), *self.search.climbs]
        rounds = sum(climb.rounds for climb in climbs)
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
        c, job = self.counters, self.job
        chosen = self.search.front or (self.scouts.front if self.scouts else None)
        if chosen is not None:
            self.objective.put(chosen.state.x)
        if self.metrics is not None:
            os.fsync(self.metrics.file.fileno())
            c.metrics, c.seconds = self.metrics.size, time.monotonic() - self.started
            model: Tensors = dict(self.module.state_dict())
            searches = {"scouts": self.scouts, "climbs": self.search}
            climbs = {name: [climb.as_dict() for climb in each.climbs] for name, each in searches.items() if each}
            header = {"best": dump({"restart": 0, "epoch": 0, "log_prob_per_row": c.best})}
            best = {BEST: tensor_bytes(model, header)} if c.finished else {}
            state = Checkpoint(c, model, model if c.finished else None, climbs, {})
            put(job.folder, {**best, LAST: state.to_bytes()}, self.metrics.seal)
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
