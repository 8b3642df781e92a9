"""metrics.jsonl, one object per line, and the same numbers as TensorBoard events where tensorboard is installed."""

import importlib.util
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vispec.diagnostics import dump
from vispec.train.errors import RunError

Log = Callable[[str], None]

PAUSE = 0.1  # least seconds between two lines that become events


class Metrics:
    """Appends to the metrics of a run. Lines written after the checkpoint that a fit resumes from are dropped."""

    def __init__(self, folder: Path, keep: int, step: int, log: Log):
        path = folder / "metrics.jsonl"
        self.file = path.open("ab")
        self.file.truncate(min(keep, path.stat().st_size))
        self.file.seek(0, 2)
        self.events = _events(folder, step, log)
        self.told = float("-inf")

    def write(self, line: Mapping[str, Any], step: int) -> None:
        """Append `line`; its numbers become events at `step`, unless others just did: events cost more than a short step."""
        self.file.write(dump(line).encode() + b"\n")
        self.file.flush()
        if self.events is not None and (time.monotonic() - self.told >= PAUSE or line["event"] == "end"):
            self.told = time.monotonic()
            for name, value in _numbers(line):
                self.events.add_scalar(name, value, step)

    @property
    def size(self) -> int:
        """Bytes so far: what a checkpoint remembers."""
        return self.file.tell()

    def close(self) -> None:
        self.file.close()
        if self.events is not None:
            self.events.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of a run's metrics; the last may be cut where a fit was killed. RunError where a line is damaged."""
    path = folder / "metrics.jsonl"
    try:
        whole = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [_line(path, number, line) for number, line in enumerate(whole, 1)]


def _line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "event" not in found:
        raise RunError(f"{path} is damaged in line {number}; without this file a run counts as one that has not ended")
    return found


def _events(folder: Path, step: int, log: Log) -> Any:
    """A TensorBoard writer, or None."""
    if importlib.util.find_spec("tensorboard") is None:
        log("tensorboard is not installed: metrics.jsonl only (pip install tensorboard for event files)")
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step or None)


def _numbers(line: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(group/name, number) of every number in the groups of a line, `train` and `valid`."""
    groups = ((name, group) for name, group in line.items() if isinstance(group, Mapping))
    return [
        (f"{name}/{key}", float(value))
        for name, group in groups
        for key, value in group.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
