"""A mixture module with the interface of emitted ones, and data in memory, to test training without the compiler."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vispec.train.loop.fit import Job
from vispec.train.loop.progress import Quiet
from vispec.train.setup.distributed import Group, choose_device
from vispec.train.setup.settings import Settings


class Mixture(nn.Module):
    """K Gaussians of equal weight over rows x (B, D), behind dropout, so that training draws random numbers."""

    exact, estimator = True, "exact"

    def __init__(self, D: int = 2, K: int = 3, dropout: float = 0.1):
        super().__init__()
        self.loc = nn.Parameter(torch.randn(K, D))
        self.scale_raw = nn.Parameter(torch.zeros(K, D))
        self.dropout = nn.Dropout(dropout)
        self.kl_weight = 1.0

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        x = self.dropout(batch["x"])[:, None]  # (B, 1, D)
        z = (x - self.loc) / self.scale_raw.exp()
        log_density = -0.5 * z**2 - self.scale_raw - 0.5 * math.log(2 * math.pi)  # (B, K, D)
        return log_density.sum(2).logsumexp(1) - math.log(len(self.loc))

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        log_prob = self.log_prob(batch)
        return -log_prob.sum() * (num_data / len(log_prob))


class MemoryRows:
    """Rows x (N, D)."""

    def __init__(self, x: Tensor):
        self.x = x

    @property
    def num_rows(self) -> int:
        return len(self.x)

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        return {"x": self.x[torch.from_numpy(indices)]}

    def order(self, size: int, generator: torch.Generator | None = None, bucket: bool = False) -> list[np.ndarray]:
        rows = torch.arange(len(self.x)) if generator is None else torch.randperm(len(self.x), generator=generator)
        return [part.numpy() for part in rows.split(size)]

    def tokens(self) -> int:
        return 0

    def row_tokens(self) -> np.ndarray:
        return np.zeros(len(self.x), np.int64)


def clusters(rows: int = 60, seed: int = 0) -> MemoryRows:
    """Two clusters in the plane."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.randint(2, (rows, 1), generator=generator) * 4.0 - 2.0
    return MemoryRows(side + torch.randn(rows, 2, generator=generator))


def job(
    folder: Path, settings: Settings, train: MemoryRows | None = None, valid: MemoryRows | None = None, build=Mixture
) -> Job:
    """A quiet job in this process, or in this process's place of a group."""
    folder.mkdir(parents=True, exist_ok=True)
    train = clusters() if train is None else train
    group = Group()
    return Job(
        folder, build, settings.resolve(train.num_rows, False, 1), train, valid, choose_device("cpu", group), group, Quiet()
    )
