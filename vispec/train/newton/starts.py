"""Where a second-order search starts: what the module takes from the data, and noise in units of the curvature for the rest.

The deviation of the noise is what one row of data would tell of a parameter, 1 / √(H_ii / N), so that it is the same in dollars
and in cents: of a location, it is the spread of the data. Numbers behind a link function have no units, and are moved a little.
"""

from collections.abc import Callable, Mapping
from math import sqrt

import torch
from torch import Tensor, nn

from vispec.train.newton.curvature import SMALL
from vispec.train.newton.objective import Objective

TRIES = 40  # times that the noise is halved, or drawn anew, until the objective is finite
FIRST = 1e-2  # a first width of differences, in what the parameter is stored in
LINKED = 0.5  # deviation of the noise of what stands behind a link function


def starting_point(objective: Objective, prepare: Callable[[nn.Module], None], number: int, rows: int) -> Tensor:
    """The start (d,) of climb `number`, drawn from torch's generator. prepare: lets the module choose from the data.

    A module's own noise in what the data did not decide is a multiple of the unit there; the first climb adds none to it."""
    before = objective.vector()
    prepare(objective.module)
    base = objective.vector()
    free, linked = base == before, is_linked(objective)
    own = torch.where(free & ~linked, base, 0.0)
    middle = base - own
    extra = torch.randn(base.shape, dtype=base.dtype).to(base) * free * (number > 0)
    noise = torch.where(linked, LINKED * extra, torch.where(own != 0, own, extra))
    if not bool((noise != 0).any()) and objective(base)[0] < float("inf"):
        return base
    if objective(middle)[0] < float("inf"):
        noise = torch.where(linked, noise, noise * spread(objective, middle, free & ~linked, rows))
        found = finite(objective, middle, noise)
        return middle if found is None else found
    for attempt in range(TRIES):
        found = finite(objective, base, torch.randn(base.shape, dtype=base.dtype).to(base) * (0.1 * 1.2**attempt), 1)
        if found is not None:
            return found
    return base


def finite(objective: Objective, x: Tensor, noise: Tensor, tries: int = TRIES) -> Tensor | None:
    """x (d,) with as much of the noise (d,) as leaves the objective finite."""
    steps = (x + noise / 2**halving for halving in range(tries))
    return next((at for at in steps if objective(at)[0] < float("inf")), None)


def is_linked(objective: Objective) -> Tensor:
    """Which numbers (d,) stand behind a link function: those of parameters that the module stores as `raw_`."""
    return torch.cat([torch.full((slot.stop - slot.start,), slot.name.startswith("raw_")) for slot in objective.slots])


def spread(objective: Objective, x: Tensor, which: Tensor, rows: int) -> Tensor:
    """One deviation (d,) of each parameter in question by what a row tells of it; 1 where that cannot be said."""
    width, curvature = torch.full_like(x, FIRST), torch.ones_like(x)
    for _ in range(2):
        curvature = diagonal(objective, x, width, which).abs()
        width = torch.where(curvature > 0, SMALL * 1e2 / curvature.sqrt(), width)
    found = sqrt(rows) / curvature.sqrt()
    return torch.where(found.isfinite(), found, 1.0)


def diagonal(objective: Objective, x: Tensor, width: Tensor, which: Tensor) -> Tensor:
    """H_ii (d,) by differences of gradients of that width; 0 where they are not finite, or the number is not in question."""
    found = torch.zeros_like(x)
    for i in which.nonzero().flatten().tolist():
        up, down = x.clone(), x.clone()
        up[i] += width[i]
        down[i] -= width[i]
        (high, above), (low, below) = objective(up), objective(down)
        if max(high, low) < float("inf"):
            found[i] = (above[i] - below[i]) / (up[i] - down[i])
    return found


def started(batch: Mapping[str, Tensor], given: Mapping[str, Tensor] | None) -> Callable[[nn.Module], None]:
    """What lets a module choose its start from a batch, where it can; the parameters that another run gives come before it."""

    def prepare(module: nn.Module) -> None:
        initialise = getattr(module, "initialise", None)
        if callable(initialise):
            initialise(batch)
        if given is not None:
            module.load_state_dict(dict(given), strict=False)

    return prepare
