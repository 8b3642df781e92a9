"""A step of a language model by several processes: vispec's, beside the same module under plain DistributedDataParallel.

    torchrun --standalone --nproc-per-node 2 -m benchmarks.processes

prints for each, with and without bf16, milliseconds for a step, least and median, and tokens per second, by turns in the same
run; on a GPU for each process where there are some.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from vispec.compile import class_of, compile_spec
from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.loop.half import in_halves
from vispec.train.loop.step import Stepper
from vispec.train.setup.distributed import Group, choose_device, joined
from vispec.train.setup.settings import Settings
from vispec.train.store.module import class_of_text

SPEC = Path(__file__).parents[1] / "specs" / "language_model.vispec"
ROWS, LENGTH, BATCH, WORDS = 4096, 35, 64, 10_000
ROUNDS, STEPS = 10, 4
Step = Callable[[int], None]


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


def ours(module: nn.Module, group: Group, device: torch.device, model: Model | None) -> Step:
    """vispec's step, by its number. model: to learn in bf16."""
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    if model is not None:
        in_halves(module, model, device)
    stepper = Stepper(module, optimiser, Settings(batch=BATCH, lr=1e-3, clip=5.0), Sentences(), 1000, group)  # type: ignore[arg-type]
    return lambda number: void(stepper(rows(number), number, 1000, (0.0, 0.0)))


def plain(module: nn.Module, group: Group, device: torch.device, half: bool) -> Step:
    """That of a plain program."""
    data, optimiser = Sentences(), torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    loss = nn.parallel.DistributedDataParallel(Loss(module)) if group.world > 1 else Loss(module)

    def step(number: int) -> None:
        optimiser.zero_grad()
        batch = {name: value.to(device) for name, value in data.batch(group.share(rows(number))).items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            found = loss(batch)
        found.backward()
        found.item()
        nn.utils.clip_grad_norm_(module.parameters(), 5.0).item()
        optimiser.step()

    return step


def void(_: object) -> None:
    pass


def rows(number: int) -> np.ndarray:
    return np.arange(number * BATCH, (number + 1) * BATCH) % ROWS


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    source = Source(SPEC.name, SPEC.read_text(encoding="utf-8").replace("400", "256"))
    text, model = compile_spec(source, {"V": WORDS}), check_model(parse(source), {"V": WORDS})
    with joined() as group:
        device = choose_device("auto", group)

        def made() -> nn.Module:
            return class_of_text(text, class_of(text))().to(device)

        steps = {
            "vispec": ours(made(), group, device, None),
            "DistributedDataParallel": plain(made(), group, device, False),
            "vispec, bf16": ours(made(), group, device, model),
            "DistributedDataParallel, bf16": plain(made(), group, device, True),
        }
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
                print(f"{name:<30}{min(found):8.1f}{median(found):8.1f}{1000 * BATCH * LENGTH / median(found):10.0f}")
        steps.clear()


if __name__ == "__main__":
    main()
