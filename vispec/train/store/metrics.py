"""metrics.jsonl, one object per line, and the same numbers as TensorBoard events where tensorboard is installed."""

import hashlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from vispec.diagnostics import dump
from vispec.train.errors import RunError
from vispec.train.store.manifest import Seal, checked, digest_of, settle

FILE = "metrics.jsonl"
Log = Callable[[str], None]

PAUSE = 0.1  # least seconds between two lines that become events
HELD = 2.0  # seconds in which events are held back: TensorBoard takes a third of one to import, which no first step waits for


class Metrics:
    """Appends to the metrics of a run. Lines written after the checkpoint that a fit resumes from are dropped."""

    def __init__(self, folder: Path, keep: int, step: int, log: Log):
        path = folder / FILE
        self.file = path.open("ab")
        self.digest, kept = keep_whole(folder, keep, log)
        self.file.truncate(kept)
        self.file.seek(0, 2)
        settle(folder, anew=[FILE])
        self.events = _events(folder, step, log)
        self.told = float("-inf")

    def write(self, line: Mapping[str, Any], step: int) -> None:
        """Append `line`; its numbers become events at `step`, unless others just did: events cost more than a short step."""
        written = dump(line).encode() + b"\n"
        self.file.write(written)
        self.file.flush()
        self.digest.update(written)
        if self.events is not None and (time.monotonic() - self.told >= PAUSE or line["event"] == "end"):
            self.told = time.monotonic()
            self.events.add(_numbers(line), step)

    @property
    def size(self) -> int:
        """Bytes so far: what a checkpoint remembers."""
        return self.file.tell()

    @property
    def seal(self) -> dict[str, Seal]:
        """Of what there is so far, by the file's name."""
        return {FILE: Seal(size=self.size, sha256=self.digest.hexdigest())}

    def close(self) -> None:
        self.file.close()
        if self.events is not None:
            self.events.close()


def keep_whole(folder: Path, keep: int, log: Log) -> "tuple[hashlib._Hash, int]":
    """The hash of the metrics that a checkpoint has seen, and their size; of none, where they are damaged."""
    try:
        path = checked(folder, FILE) if keep else folder / FILE
        with path.open("rb") as file:
            return digest_of(file, keep)
    except RunError as error:
        log(f"{error}: what was written so far is dropped, and the curves begin here")
        return hashlib.sha256(), 0


def read_metrics(folder: Path, trust: bool = False) -> list[dict[str, Any]]:
    """All whole lines of a run's metrics; the last may be cut where a fit was killed. RunError where a line is damaged."""
    path = folder / FILE
    if not path.exists():
        return []
    whole = checked(folder, FILE, trust).read_bytes().split(b"\n")[:-1]
    return [_line(path, number, line) for number, line in enumerate(whole, 1)]


def _line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "event" not in found:
        raise RunError(f"{path} is damaged in line {number}; without this file a run counts as one that has not ended")
    return found


class Events:
    """TensorBoard's writer of a run, and the numbers that it has not been given: (name, value, step, time) each."""

    def __init__(self, folder: Path, step: int):
        self.folder, self.step = folder, step
        self.begun, self.held = time.monotonic(), list[tuple[str, float, int, float]]()

    @cached_property
    def writer(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=self.step or None)

    def add(self, numbers: Iterable[tuple[str, float]], step: int) -> None:
        self.held += [(name, value, step, time.time()) for name, value in numbers]
        if time.monotonic() - self.begun >= HELD:
            self.give()

    def give(self) -> None:
        for name, value, step, when in self.held:
            self.writer.add_scalar(name, value, step, when)
        self.held.clear()

    def close(self) -> None:
        self.give()
        if "writer" in self.__dict__:  # else there was nothing to write
            self.writer.close()


def _events(folder: Path, step: int, log: Log) -> Events | None:
    """None where there is no TensorBoard."""
    if importlib.util.find_spec("tensorboard") is None:
        log("tensorboard is not installed: metrics.jsonl only (pip install tensorboard for event files)")
        return None
    return Events(folder, step)


def _numbers(line: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(group/name, number) of every number in the groups of a line, `train` and `valid`."""
    groups = ((name, group) for name, group in line.items() if isinstance(group, Mapping))
    return [
        (f"{name}/{key}", float(value))
        for name, group in groups
        for key, value in group.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
