"""A step of a language model by several processes: vispec's, beside the same module under plain DistributedDataParallel.

    torchrun --standalone --nproc-per-node 2 -m benchmarks.processes

prints milliseconds for a step of each, by turns in the same run, least and median.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.loop.step import Stepper
from vispec.train.setup.distributed import Group, joined
from vispec.train.setup.settings import Settings
from vispec.train.store.module import class_of_text

SPEC = Path(__file__).parents[1] / "specs" / "language_model.vispec"
ROWS, LENGTH, BATCH, WORDS = 4096, 35, 64, 10_000
ROUNDS, STEPS = 12, 4


class Sentences:
    """Random words in sentences of one length."""

    num_rows = ROWS

    def __init__(self) -> None:
        self.x = torch.randint(WORDS, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        return {"x": self.x[torch.from_numpy(indices)], "x_len": torch.full((len(indices),), LENGTH)}


class Loss(nn.Module):
    """What DistributedDataParallel calls."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.module.loss(batch, num_data=ROWS) / ROWS  # type: ignore[operator]


def contenders(module: nn.Module, group: Group) -> dict[str, Callable[[int], None]]:
    """A step, by its number, of vispec and of a plain program."""
    data, optimisers = Sentences(), [torch.optim.Adam(module.parameters(), lr=1e-3, fused=True) for _ in range(2)]
    stepper = Stepper(module, optimisers[0], Settings(batch=BATCH, lr=1e-3, clip=5.0), data, 1000, group)  # type: ignore[arg-type]
    loss = nn.parallel.DistributedDataParallel(Loss(module)) if group.world > 1 else Loss(module)

    def ours(number: int) -> None:
        stepper(rows(number), number, 1000, (0.0, 0.0))

    def plain(number: int) -> None:
        optimisers[1].zero_grad()
        found = loss(data.batch(group.share(rows(number))))
        found.backward()
        found.item()
        nn.utils.clip_grad_norm_(module.parameters(), 5.0).item()
        optimisers[1].step()

    return {"vispec": ours, "DistributedDataParallel": plain}


def rows(number: int) -> np.ndarray:
    return np.arange(number * BATCH, (number + 1) * BATCH) % ROWS


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    text = compile_spec(Source.read(SPEC), {"V": WORDS})
    with joined() as group:
        steps = contenders(class_of_text(text, class_of(text))(), group)
        took: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(ROUNDS):
            for name, step in steps.items():
                group.sum_(torch.zeros(1))
                start = time.perf_counter()
                for number in range(STEPS):
                    step(turn * STEPS + number)
                took[name] += [1000 * (time.perf_counter() - start) / STEPS] * (turn > 0)
        if group.main:
            for name, found in took.items():
                print(f"{name:<24}{min(found):8.1f}{median(found):8.1f}")
        steps.clear()


if __name__ == "__main__":
    main()
