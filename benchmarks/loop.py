"""What `vispec fit` adds to the bare loop `zero_grad, loss, backward, step` on the same batches.

    python -m benchmarks.loop [ROUNDS]

prints for each model microseconds a step of either, the least of the rounds, which take turns, and the median of their ratios.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.programs import ibm1, mixture, vae
from benchmarks.workload import Workload, emitted_module
from vispec.train.loop.fit import Trainer
from vispec.train.loop.progress import reporter
from vispec.train.loop.signals import Stop
from vispec.train.setup.distributed import Group
from vispec.train.setup.job import Job
from vispec.train.setup.settings import Settings

BATCHES, STEPS = 4, 40
WORKLOADS: dict[str, Callable[[], Workload]] = {
    "mixture": lambda: mixture.workload(rows=4096, dims=16, components=32),
    "vae": lambda: vae.workload(rows=512, pixels=784, hidden=400, code=20),
    "ibm1": lambda: ibm1.workload(pairs=128, words=20, types=5000, embed=64, hidden=128),
}
Loop = Callable[[], None]


class Kept:
    """Rows whose minibatches are made already: the bare loop is given them too."""

    def __init__(self, workload: Workload):
        self.whole, self.num_rows = workload.batch, len(next(iter(workload.batch.values())))
        self.parts = np.array_split(np.arange(self.num_rows), BATCHES)
        self.made = {(int(each[0]), len(each)): self.take(each) for each in self.parts}

    def take(self, indices: np.ndarray) -> dict[str, Tensor]:
        return {name: x[torch.from_numpy(indices)] for name, x in self.whole.items()}

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        return self.made.get((int(indices[0]), len(indices))) or self.take(indices)

    def order(self, batch: int, generator: torch.Generator) -> list[np.ndarray]:
        return [each.numpy() for each in torch.randperm(self.num_rows, generator=generator).split(batch)]


def bare(workload: Workload, data: Kept) -> Loop:
    module = emitted_module(workload)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    batches = list(data.made.values())

    def loop() -> None:
        for step in range(STEPS):
            optimiser.zero_grad()
            (module.loss(batches[step % BATCHES], data.num_rows) / data.num_rows).backward()
            optimiser.step()

    return loop


def ours(workload: Workload, data: Any, folder: Path) -> Loop:
    rows, told = data.num_rows // BATCHES, {"epochs": 10**6, "lr": 1e-3, "restarts": 1, "precision": "float32"}
    settings = Settings(optimizer="adam", batch=rows, **told)
    place = torch.device("cpu")
    job = Job(folder, lambda: emitted_module(workload), settings, data, None, place, Group(), reporter(False))
    trainer = Trainer(job, None, Stop())
    trainer._begin()

    def loop() -> None:
        for step in range(STEPS):
            trainer._step(data.parts[step % BATCHES], BATCHES)

    return loop


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    for name, make in WORKLOADS.items():
        workload = make()
        data = Kept(workload)
        with TemporaryDirectory() as folder:
            loops = [bare(workload, data), ours(workload, data, Path(folder))]
            times = np.array([[timed(loop) for loop in loops] for _ in range(rounds + 1)][1:]) / STEPS * 1e6
        print(f"{name:8} {times[:, 0].min():9.1f} {times[:, 1].min():9.1f} {median(times[:, 1] / times[:, 0]):6.3f}")


def timed(loop: Loop) -> float:
    start = time.perf_counter()
    loop()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
