"""A fit killed anywhere and resumed ends with the same bits as one that was not; several processes end with the same sums."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fit_worker import work
from handmade import Mixture, clusters, job

from vispec.train.errors import InterruptionError, RunError
from vispec.train.loop.fit import fit
from vispec.train.setup.settings import Settings
from vispec.train.store.checkpoint import Checkpoint, pack, unpack

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def worker(folder: Path, dropout: float = 0.1, pause: bool = True, **environment: str):
    """The same as `work`, in a process of its own."""
    command = [sys.executable, str(HERE / "fit_worker.py"), str(folder), "adam", str(dropout), "slow" if pause else "fast"]
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path} | environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def metrics(folder: Path) -> list[dict]:
    """The lines of metrics.jsonl without what a clock wrote."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_same_run(first: Path, second: Path) -> None:
    """Equal parameters, best parameters, optimiser states and random states, bit for bit, and equal metrics."""
    a, b = Checkpoint.read(first / "last.safetensors"), Checkpoint.read(second / "last.safetensors")
    assert a.counters.finished
    assert b.counters.finished
    flat_a, flat_b = {}, {}
    assert pack([a.model, a.best, a.optimiser, a.rng], flat_a, "") == pack([b.model, b.best, b.optimiser, b.rng], flat_b, "")
    assert flat_a.keys() == flat_b.keys()
    assert all(torch.equal(flat_a[key], flat_b[key]) for key in flat_a)
    assert metrics(first) == metrics(second)
    assert (first / "best.safetensors").read_bytes() == (second / "best.safetensors").read_bytes()


def test_killed_many_times(tmp_path):
    work(tmp_path / "whole", "adam", dropout=0.1, pause=False)
    chance = random.Random(0)
    broken = tmp_path / "broken"
    kills = 0
    for _ in range(2):
        process = worker(broken)
        start = (broken / "last.safetensors").stat().st_mtime_ns if (broken / "last.safetensors").exists() else 0
        while process.poll() is None:  # until it has gone on by a checkpoint
            time.sleep(0.005)
            path = broken / "last.safetensors"
            if path.exists() and path.stat().st_mtime_ns > start:
                break
        time.sleep(chance.uniform(0.0, 0.15))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 2
    assert not Checkpoint.read(broken / "last.safetensors").counters.finished
    work(broken, "adam", dropout=0.1, pause=False)
    assert_same_run(tmp_path / "whole", broken)


class Stopper(Mixture):
    """Sends this process one interrupt, at the 7th loss since it was made."""

    losses = 0

    def loss(self, batch, num_data):
        self.losses += 1
        if self.losses == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return super().loss(batch, num_data)


@pytest.mark.parametrize(
    ("optimiser", "options", "batch"), [("adam", {"amsgrad": True}, 16), ("sgd", {"momentum": 0.9}, 16), ("lbfgs", {}, 60)]
)
def test_interrupts_leave_no_trace(tmp_path, optimiser, options, batch):
    settings = Settings(optimizer=optimiser, options=options, lr=0.05, epochs=6, batch=batch, seed=1, save_every=1000.0)
    fit(job(tmp_path / "whole", settings, valid=clusters(20, 1)))
    interrupted = 0
    folder = tmp_path / "broken"
    checkpoint = None
    while True:
        try:
            fit(job(folder, settings, valid=clusters(20, 1), build=Stopper), checkpoint)
            break
        except InterruptionError:
            interrupted += 1
            checkpoint = Checkpoint.read(folder / "last.safetensors")
    assert interrupted >= 2
    fresh, resumed = Checkpoint.read(tmp_path / "whole" / "last.safetensors"), Checkpoint.read(folder / "last.safetensors")
    assert all(torch.equal(fresh.model[name], resumed.model[name]) for name in fresh.model)
    assert metrics(tmp_path / "whole") == metrics(folder)


def together(folder: Path, processes: int, pause: bool = False) -> list[subprocess.Popen]:
    """So many processes of one fit."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [worker(folder, 0.0, pause, RANK=str(r), LOCAL_RANK=str(r), **shared) for r in range(processes)]


def test_any_number_of_processes_ends_at_the_same_parameters(tmp_path):
    """Without dropout nothing is drawn, so sums of parts of any size must give the single process's parameters, wherever they
    go on from: two processes are killed, and one goes on, and three."""
    work(tmp_path / "one", "adam", dropout=0.0, pause=False)
    broken, last = tmp_path / "two", tmp_path / "two" / "last.safetensors"
    pair = together(broken, 2, pause=True)
    while not last.exists():
        assert all(process.poll() is None for process in pair)
        time.sleep(0.005)
    for process in pair:
        process.kill()
        process.communicate()
    assert Checkpoint.read(last).counters.world == 2
    assert not Checkpoint.read(last).counters.finished
    shutil.copytree(broken, tmp_path / "three")
    work(broken, "adam", dropout=0.0, pause=False)
    for process in together(tmp_path / "three", 3):
        finish(process)
    one = Checkpoint.read(tmp_path / "one" / "last.safetensors")
    for folder, world in ((broken, 1), (tmp_path / "three", 3)):
        found = Checkpoint.read(folder / "last.safetensors")
        assert found.counters.finished
        assert found.counters.world == world
        for name in one.model:
            torch.testing.assert_close(found.model[name], one.model[name], rtol=1e-6, atol=1e-9)


def test_pack_keeps_structure():
    value = {
        "state": {0: {"step": torch.tensor(3.0), "old": [torch.ones(2), None]}},
        "groups": [{"betas": (0.9, 0.99), "lr": 1e-3}],
    }
    tensors = {}
    plain = json.loads(json.dumps(pack(value, tensors, "o")))
    back = unpack(plain, tensors)
    assert back["groups"] == value["groups"]
    assert back["state"][0]["old"][1] is None
    assert torch.equal(back["state"][0]["old"][0], torch.ones(2))


def test_a_damaged_checkpoint_is_told(tmp_path):
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"not tensors at all")
    with pytest.raises(RunError, match="cannot read"):
        Checkpoint.read(path)
