"""TensorBoard's events: those of the first seconds are held back, none is lost, and each has the time at which it came."""

import time
from pathlib import Path

import pytest

from vispec.train.store import metrics

pytest.importorskip("tensorboard")


def events(folder: Path) -> list[tuple[int, float, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return [(each.step, each.value, each.wall_time) for each in found.Scalars("train/loss")]


def test_events_come_late_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PAUSE", 0)
    told = metrics.Metrics(tmp_path, 0, 0, print)
    before = time.time()
    for step in range(3):
        told.write({"event": "step", "train": {"loss": step / 4}}, step)
    assert not [*tmp_path.glob("events.*")]
    monkeypatch.setattr(metrics, "HELD", 0)
    after = time.time()
    time.sleep(0.05)
    told.write({"event": "step", "train": {"loss": 0.75}}, 3)
    assert [*tmp_path.glob("events.*")]
    told.close()
    found = events(tmp_path)
    assert [(step, value) for step, value, _ in found] == [(step, step / 4) for step in range(4)]
    assert all(before <= when <= after for _, _, when in found[:3])
    assert found[3][2] > after


def test_a_quick_fit_has_its_events(tmp_path: Path) -> None:
    told = metrics.Metrics(tmp_path, 0, 0, print)
    told.write({"event": "end", "train": {"loss": 1.5}}, 7)
    told.close()
    assert [(step, value) for step, value, _ in events(tmp_path)] == [(7, 1.5)]


def test_a_fit_that_told_nothing_has_none(tmp_path: Path) -> None:
    metrics.Metrics(tmp_path, 0, 0, print).close()
    assert not [*tmp_path.glob("events.*")]
