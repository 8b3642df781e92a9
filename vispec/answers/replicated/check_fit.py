"""Data beside new data that the fitted model would have given in their place: what a law that fits leaves to chance.

Statistics of each scored variable, of the data and over replicates of them; and calibration: of each number the share of
replicates below it, which is uniform where the model is right (probability integral transform, at ties drawn at random).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vispec.answers.how import How
from vispec.answers.reading import Say
from vispec.answers.replicated.checked import Beside, Calibration, Checked, CheckedFit
from vispec.answers.replicated.replicate import Array, Cells, batches, ended, observed, replicates, scored
from vispec.model.model import Variable
from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.estimates.labels import Labels
from vispec.train.scores.rows import Rows
from vispec.train.store.module import evaluating
from vispec.train.store.run import Run

REPLICATES = 200
BINS = 10
AT_ONCE = 1024  # rows, or a minibatch of the fit where that is larger
FEW = 12  # labels that are told one by one, the most frequent, and numbers of a vector
CRITICAL = 1.36  # of Kolmogorov's statistic times the root of the number of cells, at 5 %
LABELS = ("category", "token", "index", "tree")
Statistic = Callable[[Array], float]


def check_fit(run: Run, data: Dataset, how: How, say: Say, count: int = REPLICATES) -> CheckedFit:
    """Each scored variable. RunError where none has a law to draw from."""
    module, (variables, flat) = run.load(how.place, how.memory), scored(run, data)
    if flat:
        say(f"{', '.join(flat)}: Flat() is no law to draw from, so there is nothing to compare with")
    if not variables or not data.num_rows:
        raise RunError("there is nothing to compare with: no scored variable has a law to draw from, or there is no row")
    found = batches(run, data, max(how.size(run), AT_ONCE), how.place)
    parts = [part for v in variables for part in Part.of(run, v, observed(run, v, found), how.seed)]
    generator = torch.Generator().manual_seed(how.seed)
    with evaluating(module, how.seed, how.place):
        for _ in range(count):
            new = replicates(run, module, variables, found, generator)
            for part in parts:
                part.add(new[part.variable].values)
    return CheckedFit(str(run.folder), count, tuple(part.checked for part in parts), tuple(flat))


@dataclass(eq=False)
class Part:
    """A variable, or one number of a vector, at `at` in its type: its cells in the data (n,), and what replicates gave."""

    title: str
    variable: str
    at: tuple[int, ...]
    there: Array
    statistics: Mapping[str, Statistic]
    ranks: "Ranks | None"
    drawn: dict[str, list[float]]

    @classmethod
    def of(cls, run: Run, variable: Variable, there: Cells, seed: int) -> Iterator["Part"]:
        """One for each number of a type of few."""
        event = there.values.shape[1:]
        axes = Labels.of(run.model, run.encoders, run.config.gathered).axes(run.model, (), variable.type, event)
        apart = 0 < int(np.prod(event)) <= FEW and bool(event)
        for at in np.ndindex(*event) if apart else [()]:
            title = variable.name + (f"[{', '.join(str(axis[i]) for axis, i in zip(axes, at, strict=True))}]" if at else "")
            values = there.values[(slice(None), *at)]
            ranked = variable.type.domain not in LABELS and not ended(run, variable)
            told = statistics_of(run, variable, values)
            yield cls(
                title, variable.name, at, values, told, Ranks.of(values, seed) if ranked else None, {key: [] for key in told}
            )

    def add(self, drawn: Array) -> None:
        """A replicate of the variable's cells."""
        values = drawn[(slice(None), *self.at)]
        for key, statistic in self.statistics.items():
            self.drawn[key].append(statistic(values))
        if self.ranks is not None:
            self.ranks.add(values)

    @property
    def checked(self) -> Checked:
        told = tuple(beside(key, of(self.there), np.array(self.drawn[key])) for key, of in self.statistics.items())
        return Checked(self.title, len(self.there), told, None if self.ranks is None else self.ranks.calibration)


# ---- statistics


def statistics_of(run: Run, variable: Variable, there: Array) -> Mapping[str, Statistic]:
    """Of numbers mean, deviation and ends, and of counts the share of zeros; of labels the share of each."""
    if variable.type.domain not in LABELS:
        zero: dict[str, Statistic] = {"share of zeros": lambda x: share(x == 0)} if variable.type.discrete else {}
        return {"mean": safe(np.mean), "deviation": safe(np.std), "least": safe(np.min), "largest": safe(np.max), **zero}
    words = Rows(run.model, run.encoders, {}).words(variable)
    values, counts = np.unique(there, return_counts=True)
    known = range(len(words)) if words is not None and len(words) <= FEW else values[np.argsort(-counts, kind="stable")[:FEW]]
    return {f"share of {value if words is None else words[value]}": is_one(int(value)) for value in known}


def is_one(value: int) -> Statistic:
    return lambda x: share(x == value)


def share(which: Array) -> float:
    return float(which.mean()) if which.size else math.nan


def safe(of: Callable[[Array], Any]) -> Statistic:
    """Of no cells, nan."""
    return lambda x: float(of(x)) if x.size else math.nan


def beside(name: str, data: float, drawn: Array) -> Beside:
    low, high = np.quantile(drawn, (0.05, 0.95))
    above = float((drawn > data).mean() + 0.5 * (drawn == data).mean())
    return Beside(name, data, float(drawn.mean()), float(low), float(high), above)


# ---- calibration


@dataclass(eq=False)
class Ranks:
    """How many replicates of each cell lie below it, and how many at it."""

    values: Array
    noise: Array
    below: Array
    at: Array
    count: int = 0

    @classmethod
    def of(cls, there: Array, seed: int) -> "Ranks":
        shape = there.shape
        return cls(there, np.random.default_rng(seed).random(shape), np.zeros(shape), np.zeros(shape))

    def add(self, drawn: Array) -> None:
        self.below += drawn < self.values
        self.at += drawn == self.values
        self.count += 1

    @property
    def calibration(self) -> Calibration:
        """The cell itself is one of those at it, so that ranks are uniform exactly where it is drawn as they are."""
        rank = np.sort(((self.below + self.noise * (self.at + 1)) / (self.count + 1)).ravel())
        shares, _ = np.histogram(rank, BINS, (0.0, 1.0))
        steps = np.arange(len(rank) + 1) / max(len(rank), 1)
        distance = max(float(np.abs(rank - steps[1:]).max()), float(np.abs(rank - steps[:-1]).max())) if len(rank) else math.nan
        limit = CRITICAL / math.sqrt(max(len(rank), 1))
        return Calibration(tuple((shares / max(len(rank), 1)).tolist()), distance, limit)
