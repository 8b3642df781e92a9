"""A fit to be killed: `python fit_worker.py FOLDER [OPTIMISER]` runs or resumes the same small job, alone or under torchrun."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from handmade import Mixture, clusters, job

from vispec.train.loop.fit import fit
from vispec.train.setup.distributed import joined
from vispec.train.setup.settings import Settings
from vispec.train.store.checkpoint import Checkpoint

ROWS = 57  # in batches of seven the last one has a row, for one process alone


class Slow(Mixture):
    """Leaves time to be killed in the middle of an epoch."""

    def loss(self, batch: dict[str, torch.Tensor], num_data: int) -> torch.Tensor:
        time.sleep(0.004)
        return super().loss(batch, num_data)


def work(folder: Path, optimiser: str, dropout: float, pause: bool) -> None:
    """Run the job in `folder`, or what is left of it."""
    torch.set_num_threads(1)
    settings = Settings(optimizer=optimiser, epochs=8, batch=7, seed=5, restarts=2, save_every=0.02, lr=0.05, decay="cosine")
    settings = settings.model_copy(update={"precision": "float64"})
    kind = Slow if pause else Mixture
    path = folder / "last.safetensors"
    with joined() as group:
        whole = job(folder, settings, clusters(ROWS), clusters(20, 1), build=lambda: kind(dropout=dropout))
        todo = replace(whole, group=group)
        fit(todo, Checkpoint.read(path) if path.exists() else None)
    del group, whole, todo
    still = {task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").glob("*")}
    assert not any("gloo" in name for name in still)  # a thread that outlives the interpreter can abort the process


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4] == "slow")
