"""Linear recurrences, all steps at once."""

import torch
from torch import Tensor


def reach_of_steps(*pulls: Tensor) -> Tensor:
    """What a number that enters at step u adds to the state at step t, (..., T, T) for t and u: 0 where u > t, 1 where u = t.

    The state is s_t = Σ_k pulls[k]_t s_{t-1-k} + what enters; pulls (..., T) each, of which those before the first element are
    not read. It is the inverse of the unit lower-triangular matrix of the steps, in float64."""
    wide = torch.broadcast_tensors(*(pull.double() for pull in pulls))
    size = wide[0].shape[-1]
    unit = torch.eye(size, dtype=torch.float64, device=wide[0].device)
    steps = unit.expand(*wide[0].shape, size)
    for lag, pull in enumerate(wide[: size - 1], 1):
        steps = steps - pull[..., lag:].diag_embed(-lag)
    return torch.linalg.solve_triangular(steps, unit, upper=False, unitriangular=True).to(pulls[0].dtype)
