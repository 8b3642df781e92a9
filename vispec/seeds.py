"""Every random stream of a fit is a function of its seed and of where it is used, so nothing about it needs remembering."""

import numpy as np
import torch


def derive(*parts: int) -> int:
    """A seed for the stream named by `parts` (numbers at least 0), unrelated to that of any other parts."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(*parts: int) -> torch.Generator:
    """A CPU generator at the start of the stream named by `parts`."""
    return torch.Generator().manual_seed(derive(*parts))


def reseed(seed: int) -> None:
    """Set torch's own generators, as `torch.manual_seed` does; that formats three tracebacks, in some milliseconds, for devices
    that are not there."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
