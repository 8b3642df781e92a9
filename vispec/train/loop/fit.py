"""The training loop: restarts of epochs of steps, with everything that decides the next step kept in a checkpoint.

The order of the data is a function of (seed, restart, epoch), and the random states, the optimiser's state and the counters are
stored, so a fit that is stopped or killed anywhere and resumed takes the very same steps as one that was not.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from vispec.diagnostics import dump
from vispec.seeds import derive, generator, reseed
from vispec.train.errors import DivergenceError, InterruptionError, RunError
from vispec.train.loop import course
from vispec.train.loop.average import Average
from vispec.train.loop.by_tokens import by_tokens
from vispec.train.loop.diverged import all_finite, diverged
from vispec.train.loop.half import ABSENT, has_halves, in_halves
from vispec.train.loop.plateau import Series
from vispec.train.loop.signals import Stop, stoppable
from vispec.train.loop.step import Outcome, Stepper
from vispec.train.loop.units import measured_in, start_in_units, with_units
from vispec.train.newton.fit import Finder
from vispec.train.scores.counted import sample
from vispec.train.scores.evaluate import Rows, Score, evaluate
from vispec.train.scores.final import final_score
from vispec.train.setup.job import DRAWS, INIT, ORDER, SAMPLE, Ending, Job, Result
from vispec.train.setup.optimisers import make_optimiser, trained
from vispec.train.store.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    Counters,
    Tensors,
    random_state,
    restore_random_state,
    tensor_bytes,
)
from vispec.train.store.manifest import put
from vispec.train.store.metrics import Metrics
from vispec.train.store.module import to_device

Array = np.ndarray[Any, Any]

WINDOW = 50  # steps between two lines of metrics within an epoch
PAUSE = 1.0  # least seconds between two checkpoints at the ends of epochs


def fit(job: Job, checkpoint: Checkpoint | None = None) -> Result:
    """Train from the start, or from `checkpoint`. Raises DivergenceError, or InterruptionError after a checkpoint."""
    if checkpoint is not None and checkpoint.counters.world != job.group.world:
        before, now = checkpoint.counters.world, job.group.world
        job.reporter.say(f"begun by {before} processes, it goes on with {now}: the same minibatches, other random draws if any")
        checkpoint.counters.world = now
    if job.device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or matrix products may differ from run to run
        torch.use_deterministic_algorithms(True, warn_only=True)
    if job.settings.precision == "bf16" and not has_halves(job.device):
        job.reporter.say(ABSENT)
    with stoppable(job.halted) as stop:
        trainer = (Finder if job.settings.optimizer == "newton" else Trainer)(job, checkpoint, stop)
        try:
            return trainer.run()
        finally:
            trainer.close()


class Trainer:
    """One fit in progress."""

    def __init__(self, job: Job, checkpoint: Checkpoint | None, stop: Stop):
        self.job, self.stop, self.pending = job, stop, checkpoint
        self.counters = checkpoint.counters if checkpoint else Counters(world=job.group.world)
        self.best: Tensors | None = checkpoint.best if checkpoint else None
        self.best_is_written = False  # a kill may have come between the two files
        self.started = time.monotonic() - self.counters.seconds
        self.saved = time.monotonic()
        self.steps_per_epoch = self._minibatches()
        self.failure: DivergenceError | None = None
        c, say = self.counters, job.reporter.say
        self.metrics = Metrics(job.folder, c.metrics, c.total_steps, say) if job.group.main else None

    # ---- the course of a fit

    def run(self) -> Result:
        """All restarts that are left, then the final scores."""
        while True:
            self._begin()
            try:
                while not self._is_over:
                    self._epoch()
                self._end_restart()
            except DivergenceError as failure:
                self._give_up(failure)
            if self.counters.restart + 1 >= self._restarts:
                break
            self._next_restart()
        if self.best is None:
            assert self.failure is not None
            raise self.failure
        return self._finish()

    def _begin(self) -> None:
        """A fresh module and optimiser for the present restart, or those of the checkpoint."""
        c, s, job = self.counters, self.job.settings, self.job
        reseed(derive(s.seed, c.restart, INIT))
        self.module = job.build().to(job.device, job.dtype).train()
        assert s.lr is not None
        free = trained(self.module) or [nn.Parameter(torch.zeros(()))]  # torch has no optimiser of nothing
        self.optimiser = with_units(make_optimiser(s.optimizer, s.lr, s.options, free))
        self.average = Average(self.module, s)
        self.stepper = Stepper(self.module, self.optimiser, s, job.train, self._total_steps, job.group)
        if self.pending is None:
            self._initialise()
            self._share_start()
            reseed(derive(s.seed, c.restart, DRAWS, job.group.rank))
        else:
            self._restore(self.pending)
            self.pending = None
        if s.precision == "bf16" and job.model is not None and has_halves(job.device):
            in_halves(self.module, job.model, job.device)
        job.reporter.start(self._total_steps, c.step)

    def _initialise(self) -> None:
        """Let the module choose a start from a sample of the data, where it can; what is told comes before it."""
        initialise, job = getattr(self.module, "initialise", None), self.job
        rows = sample(job.train, SAMPLE, generator(job.settings.seed, self.counters.restart, INIT))
        batch = to_device(job.train.batch(rows), job.device)
        if callable(initialise):
            initialise(batch)
        if job.start is not None:
            self.module.load_state_dict(job.start, strict=False)
        if not job.goes_out and job.model is not None:
            work = self._total_steps * (job.settings.batch or 1) // len(rows)
            start_in_units(self.module, self.optimiser, batch, job.train.num_rows, measured_in(job.model, self.module), work)

    def _share_start(self) -> None:
        """What rounding made different on processes that started alike would stay so."""
        group, units = self.job.group, [each for each in self.optimiser.param_groups for each in each.get("units", ())]
        for tensor in (*self.module.state_dict().values(), *(unit for unit in units if unit is not None)):
            group.same_(tensor)

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Put the state of a checkpoint into the fresh module and optimiser."""
        try:
            self.module.load_state_dict(checkpoint.model)
            self.optimiser.load_state_dict(checkpoint.optimiser)
            self.average.restore(checkpoint.average)
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError(f"the checkpoint in {self.job.folder} does not fit its module") from error
        rank, c = self.job.group.rank, self.counters
        suffix = f".{rank}"
        state = {name.removesuffix(suffix): tensor for name, tensor in checkpoint.rng.items() if name.endswith(suffix)}
        if state:
            restore_random_state(state, self.job.device)
        else:  # there were fewer processes
            reseed(derive(self.job.settings.seed, c.restart, DRAWS, rank, c.step))

    def _epoch(self) -> None:
        """The rest of the present epoch."""
        c = self.counters
        order = self._order(c.restart, c.epoch)
        while c.position < len(order):
            self._step(order[c.position], len(order))
        self._end_epoch()

    def _step(self, indices: Array, count: int) -> None:
        """One minibatch; then a checkpoint if one is due, and the end if the user asked for it."""
        c, job = self.counters, self.job
        due = job.group.main and time.monotonic() - self.saved >= job.settings.save_every
        share = course.share_of_rate(c, job.settings, self.steps_per_epoch)
        told = (c.total_steps + 1) % WINDOW == 0
        outcome = self.stepper(indices, c.step, count, (float(self.stop.wanted), float(due)), share, told)
        if not outcome.finite:
            raise self._diverged(indices, outcome)
        self.average.step(c.step)
        c.loss += outcome.loss * len(indices)
        c.window_loss += outcome.loss * len(indices)
        c.rows += len(indices)
        c.window_rows += len(indices)
        c.position, c.step, c.total_steps = c.position + 1, c.step + 1, c.total_steps + 1
        job.reporter.step(c.step)
        if told:
            self._write_window(outcome)
        asked, due = outcome.signals
        if asked or due:
            self._save()
        if asked:
            raise InterruptionError(job.folder)

    def _end_epoch(self) -> None:
        """Score, remember the best parameters, report, and save unless the last checkpoint is fresh."""
        c, job = self.counters, self.job
        self.average.epoch()
        train = -c.loss / max(1, c.rows)
        with self.average.in_place():
            valid = None if job.valid is None else self._evaluate(job.valid)
        score = train if valid is None else valid.per_row
        course.add_to_series(c, job.settings, train, self.steps_per_epoch)
        improved = score == score and (c.restart_best is None or score > c.restart_best)
        c.restart_best, c.stale = (score, 0) if improved else (c.restart_best, c.stale + 1)
        if valid is not None:
            self._keep_if_best(score)
        c.epoch, c.total_epochs, c.position, c.loss, c.rows = c.epoch + 1, c.total_epochs + 1, 0, 0.0, 0
        course.look(c, job.settings)
        self._report_epoch(train, valid)
        if job.group.pick(time.monotonic() - self.saved >= min(PAUSE, job.settings.save_every)):
            self._save()

    def _end_restart(self) -> None:
        """Without validation data, restarts compete by the log-probability of the training data at their ends, or its bound; a
        single one is scored when all is done."""
        if not all_finite(self.module):
            raise DivergenceError(None, "the last step made a parameter infinite")
        if self.job.valid is None and self._restarts == 1:
            self.counters.best_restart, self.counters.best_epoch = self.counters.restart, self.counters.epoch
            self._keep()
        elif self.job.valid is None:
            with self.average.in_place():
                score = self._maximised(self.job.train)
            self._write({"event": "restart", **self._position(), "train": {"log_prob_per_row": score}})
            self._keep_if_best(score)
        if self.best is None:  # no score was a number
            self._keep()
        course.remember_end(self.counters, self.job.settings, self.job.valid is not None)

    def _next_restart(self) -> None:
        c = self.counters
        c.restart, c.epoch, c.step, c.position, c.restart_best, c.stale = c.restart + 1, 0, 0, 0, None, 0
        c.loss, c.rows, c.series, c.cooling = 0.0, 0, Series(), None

    def _give_up(self, failure: DivergenceError) -> None:
        """One restart's end need not be the fit's: the others may do better."""
        if self._restarts == 1:
            raise failure
        self.failure = failure
        self.job.reporter.say(f"restart {self.counters.restart + 1} of {self._restarts} diverged: {failure}")

    def _finish(self) -> Result:
        """Score the best parameters on everything, and leave the last checkpoint marked as finished."""
        c, job = self.counters, self.job
        assert self.best is not None
        last, was_finite = _copy(self.module), all_finite(self.module)
        self.module.load_state_dict(self.best)
        train = self._final(job.train)
        valid = None if job.valid is None else self._final(job.valid)
        if was_finite:
            self.module.load_state_dict(last)
        c.best = train.maximised if c.best is None else c.best
        c.finished, c.seconds = True, time.monotonic() - self.started
        result = Result(c.total_epochs, c.total_steps, c.seconds, train, valid, Ending(c.converged, text=c.ending))
        self._write({"event": "end"} | result.as_json())
        self._save()
        return result

    # ---- scores and what is written about them

    def _evaluate(self, data: Rows) -> Score:
        job = self.job
        return evaluate(self.module, data, job.settings.batch or 1, job.device, job.group)

    def _maximised(self, data: Rows) -> float:
        """Per row, the score less the divergence of what rows share, if anything: what the steps maximise."""
        if not hasattr(self.module, "shared"):
            return self._evaluate(data).per_row
        return self._final(data).maximised

    def _final(self, data: Rows) -> Score:
        """The score with how the latents are used, and with the divergence of those that rows share."""
        job = self.job
        return final_score(self.module, data, job.settings.batch or 1, job.device, job.latents, job.group)

    def _keep_if_best(self, score: float) -> None:
        c = self.counters
        if score == score and (c.best is None or score > c.best):
            c.best, c.best_restart, c.best_epoch = score, c.restart, c.epoch
            self._keep()

    def _keep(self) -> None:
        """The present parameters, or their mean, are the best."""
        with self.average.in_place():
            self.best, self.best_is_written = _copy(self.module), False

    def _report_epoch(self, train: float, valid: Score | None) -> None:
        c, s = self.counters, self.job.settings
        line: dict[str, Any] = {"event": "epoch", **self._position(), "seconds": time.monotonic() - self.started}
        line |= {"train": {"log_prob_per_row": train}}
        text = f"epoch {c.epoch}/{s.epochs}  train {train:.4f}"
        if self._restarts > 1:
            text = f"restart {c.restart + 1}/{self._restarts}  {text}"
        if valid is not None:
            line["valid"] = {k: v for k, v in valid.as_json().items() if k.startswith(("log_prob_per", "perplexity"))}
            text += f"  valid {valid.per_row:.4f}"
        given = " (valid: given what rows share)" if valid is not None and valid.bound == "expected" else ""
        self._write(line)
        self.job.reporter.epoch(f"{text} nats per row{given}", self._is_over)

    def _write_window(self, outcome: Outcome) -> None:
        """The mean loss since the last such line."""
        c = self.counters
        mean = -c.window_loss / max(1, c.window_rows)
        rate = self.optimiser.param_groups[0]["lr"]
        step = {"log_prob_per_row": mean, "gradient_norm": outcome.norm, "lr": rate}
        self._write({"event": "step", **self._position(), "train": step})
        c.window_loss, c.window_rows = 0.0, 0

    def _position(self) -> dict[str, int]:
        c = self.counters
        return {"restart": c.restart, "epoch": c.epoch, "step": c.total_steps}

    def _write(self, line: dict[str, Any]) -> None:
        if self.metrics is not None:
            self.metrics.write(line, self.counters.total_steps)

    # ---- checkpoints

    def _save(self) -> None:
        """Write last.safetensors, from which alone a fit resumes, and best.safetensors where it changed."""
        c, job = self.counters, self.job
        if not all_finite(self.module):
            raise DivergenceError(None, f"a parameter is not finite after step {c.step}")
        rng = {
            f"{name}.{rank}": state
            for name, tensor in random_state(job.device).items()
            for rank, state in enumerate(job.group.gather(tensor))
        }
        if self.metrics is not None:
            os.fsync(self.metrics.file.fileno())
            c.metrics, c.seconds = self.metrics.size, time.monotonic() - self.started
            optimiser, average = self.optimiser.state_dict(), self.average.state
            state = Checkpoint(c, dict(self.module.state_dict()), self.best, optimiser, rng, average)
            best = self._best_file()
            put(job.folder, {LAST: state.to_bytes(), **best}, self.metrics.seal)
            self.best_is_written = self.best_is_written or bool(best)
        self.saved = time.monotonic()

    def _best_file(self) -> dict[str, bytes]:
        """best.safetensors, where it changed."""
        if self.best is None or self.best_is_written:
            return {}
        c = self.counters
        header = {"restart": c.best_restart, "epoch": c.best_epoch, "log_prob_per_row": c.best}
        return {BEST: tensor_bytes(self.best, {"best": dump(header)})}

    def close(self) -> None:
        self.job.reporter.close()
        if self.metrics is not None:
            self.metrics.close()

    # ---- small things

    @property
    def _is_over(self) -> bool:
        return course.is_over(self.counters, self.job.settings, self.job.valid is not None)

    @property
    def _restarts(self) -> int:
        return self.job.settings.restarts or 1

    @property
    def _total_steps(self) -> int:
        return self.steps_per_epoch * (self.job.settings.epochs or 0)

    def _minibatches(self) -> int:
        """How many there are in the first epoch."""
        s = self.job.settings
        return len(self._order(0, 0)) if s.tokens is not None else -(-self.job.train.num_rows // (s.batch or 1))

    def _order(self, restart: int, epoch: int) -> Sequence[Array]:
        """The minibatches of one epoch; data that fit into one are taken in their own order."""
        s, data = self.job.settings, self.job.train
        if s.tokens is not None:
            return by_tokens(data.row_tokens(), s.tokens, generator(s.seed, restart, ORDER, epoch))
        size = s.batch or 1
        return data.order(size, None if data.num_rows <= size else generator(s.seed, restart, ORDER, epoch), bucket=True)

    def _diverged(self, indices: Array, outcome: Outcome) -> DivergenceError:
        c, job = self.counters, self.job
        mine = job.group.share(indices)
        batch = to_device(job.train.batch(mine), job.device)
        stored = getattr(job.train, "rows", None)  # where the training data are a part of the file's
        rows = mine if stored is None else stored[mine]
        where = f"at step {c.step + 1}, in epoch {c.epoch + 1}"
        return diverged(self.module, batch, rows, outcome.loss, where, job.variables, job.model, job.group.world == 1)


def _copy(module: nn.Module) -> Tensors:
    """The parameters and buffers as they are now."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in module.state_dict().items()}
