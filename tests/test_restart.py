"""A worker that is killed under torchrun is started again, and the fit goes on by itself to where it would have come."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.distributed import HashStore

import vispec
from vispec.train.setup.distributed import Group, leave
from vispec.train.store.checkpoint import Checkpoint

HERE = Path(__file__).parent
SPEC = """size D
net f(y: real[D]) -> real = mlp([8])
plate n:
    given y : real[D]
    observed x : real ~ Normal(f(y), 1)
fit:
    batch : 50
"""


EPOCHS = 150  # some seconds, so that a worker is killed while it learns


def write_inputs(folder: Path) -> None:
    """The spec and 201 rows."""
    (folder / "a.vispec").write_text(SPEC)
    chance = random.Random(0)
    rows = [f"{a:.3f},{b:.3f},{a * b:.3f}" for a, b in ((chance.gauss(0, 1), chance.gauss(0, 1)) for _ in range(201))]
    (folder / "d.csv").write_text("\n".join(["y1,y2,x", *rows]) + "\n")


def torchrun(folder: Path, *options: str, pause: float = 0.2) -> subprocess.Popen[str]:
    """A fit by `python -m vispec fit` under torchrun with these options."""
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    command += ["-m", "vispec", "fit", "a.vispec", "d.csv", "--no-verify", "--threads", "1", "--out", "run"]
    command += ["--save-every", str(pause), "--epochs", str(EPOCHS), "--set", "precision=float64"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The process ids of its workers, in the order of their ranks."""
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def finish(process: subprocess.Popen[str]) -> str:
    """What it has said, to its end."""
    try:
        return process.communicate(timeout=100)[0]
    finally:
        process.kill()


def kill_after_a_checkpoint(process: subprocess.Popen[str], last: Path, which: int) -> None:
    """Kill one of its workers, once there is a checkpoint."""
    end = time.monotonic() + 60
    while not last.exists() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    assert last.exists(), finish(process)
    os.kill(workers(process)[which], signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The parameters of a fit by one process that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_inputs(folder)
    settings = {"epochs": EPOCHS, "precision": "float64", "threads": 1}
    run = vispec.load(folder / "a.vispec").fit(folder / "d.csv", out=folder / "run", verify=False, quiet=True, **settings)
    return Checkpoint.read(run.folder / "last.safetensors").model


def test_a_killed_worker_is_started_again(tmp_path, undisturbed):
    write_inputs(tmp_path)
    process = torchrun(tmp_path, "--nproc-per-node=1", "--max-restarts=1", "--standalone")
    last = tmp_path / "run" / "last.safetensors"
    kill_after_a_checkpoint(process, last, 0)
    output = finish(process)
    assert process.returncode == 0, output
    assert "resuming run: 201 rows" in output
    found = Checkpoint.read(last).model
    assert found.keys() == undisturbed.keys()
    assert all(torch.equal(value, undisturbed[name]) for name, value in found.items())


def test_survivors_say_who_is_lost_and_all_start_again(tmp_path, undisturbed):
    """The first of two processes is killed, and the other one says it. All attempts have torchrun's one store."""
    write_inputs(tmp_path)
    store = ("--master-addr=127.0.0.1", f"--master-port={free_port()}")
    process = torchrun(tmp_path, "--nproc-per-node=2", "--max-restarts=1", *store)
    last = tmp_path / "run" / "last.safetensors"
    kill_after_a_checkpoint(process, last, 0)
    output = finish(process)
    assert output.count("process 0 of 2 is gone; to go on: vispec fit a.vispec d.csv --out run --resume") == 1, output
    assert "bug" not in output
    assert process.returncode == 0, output
    assert "resuming run: 201 rows" in output
    for name, value in Checkpoint.read(last).model.items():
        torch.testing.assert_close(value, undisturbed[name], rtol=1e-6, atol=1e-9)


def test_who_is_gone_is_told_from_who_has_ended_and_who_is_left():
    store = HashStore()
    ranks = [Group(rank, 4, store=store) for rank in range(4)]
    leave(ranks[0], "")  # its exchange has failed too
    leave(ranks[3], "no column for `y`")
    found = ranks[2]._lost()
    assert found is not None
    assert str(found) == "process 1 of 4 is gone; process 3 of 4 has ended: no column for `y`"
    assert not found.first  # the process 0 says it
    leave(ranks[1], "")
    leave(ranks[3], "")
    assert ranks[2]._lost() is None  # all are there: the exchange has failed for another reason
