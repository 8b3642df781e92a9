"""Where a second-order search starts: what the module takes from the data, and noise in units of the curvature for the rest.

The deviation of the noise is what one row of data would tell of a parameter, 1 / √(H_ii / N), so that it is the same in dollars
and in cents: of a location, it is the spread of the data. Numbers behind a link function have no units, and are moved a little.
"""

from collections.abc import Callable, Mapping
from math import sqrt

import torch
from torch import Tensor, nn

from vispec.train.newton.objective import Objective

TRIES = 40  # times that the noise is halved, or drawn anew, until the objective is finite
FIRST = 1e-2  # a first width of differences, in what the parameter is stored in, then in units of the curvature
WIDTHS = (FIRST, 1e-4, 1.0, 1e-6, 1e2, 1e-8, 1e4)  # tried in turn, as a number may multiply dollars in a sigmoid, or millionths
FAINT = 1e-12  # of the objective: a change over that width below which there is none
DECADES = 3.0  # to both sides of 1, of a unit that nothing tells
LINKED = 0.5  # deviation of the noise of what stands behind a link function


def starting_point(objective: Objective, prepare: Callable[[nn.Module], None], number: int, rows: int) -> Tensor:
    """The start (d,) of climb `number`, drawn from torch's generator. prepare: lets the module choose from the data.

    A module's own noise in what the data did not decide is a multiple of the unit there; the first climb adds none to it."""
    before = objective.vector()
    prepare(objective.module)
    base = objective.vector()
    free, linked = base == before, is_linked(objective)
    own = torch.where(free & ~linked, base, 0.0)
    extra = torch.randn(base.shape, dtype=base.dtype).to(base) * free * (number > 0)
    noise = torch.where(linked, LINKED * extra, torch.where(own != 0, own, extra))
    if not bool((noise != 0).any()) and objective(base)[0] < float("inf"):
        return base
    if objective(base - own)[0] < float("inf"):
        found = finite(objective, base - own, noise * linked)
        return spread_out(objective, base - own if found is None else found, noise * ~linked, rows)
    for attempt in range(TRIES):
        found = finite(objective, base, torch.randn(base.shape, dtype=base.dtype).to(base) * (0.1 * 1.2**attempt), 1)
        if found is not None:
            return found
    return base


def spread_out(objective: Objective, x: Tensor, noise: Tensor, rows: int) -> Tensor:
    """x (d,) with noise (d,) in units of what a row tells of each number, one after the other, as each may decide the next
    one's: the weights of a mixture change nothing as long as its components are alike, so whatever the objective does not
    depend on is left for later.

    Where nothing decides a number in the end, the unit is any power of ten."""
    order = noise.nonzero().flatten()
    waiting = order[torch.randperm(len(order))].tolist()
    while waiting:
        later = list[int]()
        for i in waiting:
            h = curvature(objective, x, i)
            if h > 0:
                x = moved(objective, x, i, float(noise[i]) * sqrt(rows / h))
            else:
                later.append(i)
        if len(later) == len(waiting):
            i = later.pop()
            x = moved(objective, x, i, float(noise[i]) * 10.0 ** float(DECADES * (2 * torch.rand(()) - 1)))
        waiting = later
    return x


def moved(objective: Objective, x: Tensor, i: int, by: float) -> Tensor:
    """x (d,) with as much of that added to its i-th number as leaves the objective finite."""
    step = torch.zeros_like(x)
    step[i] = by
    found = finite(objective, x, step)
    return x if found is None else found


def curvature(objective: Objective, x: Tensor, i: int) -> float:
    """|H_ii| by differences of gradients, first of any width, then of one that suits it; 0 where it is flat."""
    h = next((found for width in WIDTHS if (found := difference(objective, x, i, width)) > 0), 0.0)
    return difference(objective, x, i, FIRST / sqrt(h)) if h > 0 else 0.0


def difference(objective: Objective, x: Tensor, i: int, width: float) -> float:
    """|H_ii| from the gradients at x_i ± width; 0 where they are alike up to rounding, or one of them is not finite."""
    up, down = x.clone(), x.clone()
    up[i] += width
    down[i] -= width
    (high, above), (low, below) = objective(up), objective(down)
    if not max(high, low) < float("inf"):
        return 0.0
    h = abs(float(above[i] - below[i]) / float(up[i] - down[i]))
    return h if h * width * width >= FAINT * (1 + abs(high)) else 0.0


def finite(objective: Objective, x: Tensor, noise: Tensor, tries: int = TRIES) -> Tensor | None:
    """x (d,) with as much of the noise (d,) as leaves the objective finite."""
    steps = (x + noise / 2**halving for halving in range(tries))
    return next((at for at in steps if objective(at)[0] < float("inf")), None)


def is_linked(objective: Objective) -> Tensor:
    """Which numbers (d,) stand behind a link function: those of parameters that the module stores as `raw_`."""
    return torch.cat([torch.full((slot.stop - slot.start,), slot.name.startswith("raw_")) for slot in objective.slots])


def started(batch: Mapping[str, Tensor], given: Mapping[str, Tensor] | None) -> Callable[[nn.Module], None]:
    """What lets a module choose its start from a batch, where it can; the parameters that another run gives come before it."""

    def prepare(module: nn.Module) -> None:
        initialise = getattr(module, "initialise", None)
        if callable(initialise):
            initialise(batch)
        if given is not None:
            module.load_state_dict(dict(given), strict=False)

    return prepare
