"""By which means a question is answered."""

from dataclasses import dataclass

import torch

from vispec.train.store.run import Run

CPU = torch.device("cpu")


@dataclass(frozen=True)
class How:
    """place: the device. batch: rows at once, None: as in the fit. seed: of all that is random. samples: draws of what is not
    summed, None: the module's own number. memory: bytes that a sum over joint values may take at once, None: as in the run."""

    place: torch.device = CPU
    batch: int | None = None
    seed: int = 0
    samples: int | None = None
    memory: int | None = None

    def size(self, run: Run) -> int:
        """Rows at once."""
        return self.batch or run.config.settings.batch or 1
