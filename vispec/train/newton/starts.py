"""Where a second-order search starts: what the module takes from the data, and noise in units of the curvature for the rest.

The deviation of the noise is what one row of data would tell of a parameter, 1 / √(H_ii / N), so that it is the same in dollars
and in cents: of a location, it is the spread of the data. Numbers behind a link function have no units, and are moved a little.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from math import sqrt

import torch
from torch import Tensor, nn

from vispec.kernels.constraints import softplus_inverse
from vispec.train.newton.objective import Objective
from vispec.train.newton.reach import FAINT, bend, curvature

TRIES = 40  # times that the noise is halved, or drawn anew, until the objective is finite
DECADES = 3.0  # to both sides of 1, of a unit that nothing tells
DRAWS = 10  # of which the best is taken where the curvature does not tell units
NEAR = 0.3  # of the noise of a number that is where it is best beside others
FAR = 12  # decades to both sides of 1 that a positive number may start at
LINKED = 0.5  # deviation of the noise of what stands behind a link function


def starting_point(
    objective: Objective,
    prepare: Callable[[nn.Module], None],
    number: int,
    rows: float,
    positive: AbstractSet[str] = frozenset(),
    known: AbstractSet[str] = frozenset(),
) -> Tensor:
    """The start (d,) of climb `number`, drawn from torch's generator. prepare: lets the module choose from the data. positive:
    names of the module's parameters that are numbers above 0 behind softplus. known: names of those whose start is told.

    A module's own noise in what the data did not decide is a multiple of the unit there; the first climb adds none to it."""
    before = objective.vector()
    prepare(objective.module)
    base = objective.vector()
    told = torch.cat([torch.full((slot.stop - slot.start,), slot.name in known) for slot in objective.slots]).to(base.device)
    free, linked = (base == before) & ~told, is_linked(objective)
    own = torch.where(free & ~linked, base, 0.0)
    extra = torch.randn(base.shape, dtype=base.dtype).to(base) * free * (number > 0)
    noise = torch.where(linked, LINKED * extra, torch.where(own != 0, own, extra))
    groups = [at for at in above_zero(objective, positive) if bool(free[at].all())]
    if not groups and not bool((noise != 0).any()) and objective(base)[0] < float("inf"):
        return base
    if objective(base - own)[0] < float("inf"):
        apart = base + noise
        for at in groups:
            linked[at], noise[at] = False, 0.0
        x, left = sized(objective, base - own, groups, apart)
        found = finite(objective, x, noise * linked)
        x = spread_out(objective, x if found is None else found, noise * ~linked, rows)
        return sized(objective, x, left, apart)[0]
    for attempt in range(TRIES):
        noise = torch.randn(base.shape, dtype=base.dtype).to(base) * (0.1 * 1.2**attempt)
        found = finite(objective, base, torch.where(told, 0.0, noise), 1)
        if found is not None:
            return found
    return base


def spread_out(objective: Objective, x: Tensor, noise: Tensor, rows: float) -> Tensor:
    """x (d,) with noise (d,) in units of what a row tells of each number; of a curve the best of several draws."""
    first, tells = spread_once(objective, x, noise, rows)
    if tells:
        return first
    draws = [first]
    for _ in range(DRAWS - 1):
        again = torch.randn(noise.shape, dtype=noise.dtype).to(noise) * (noise != 0)
        draws.append(spread_once(objective, x, again, rows)[0])
    return min(draws, key=lambda draw: objective(draw)[0])


def spread_once(objective: Objective, x: Tensor, noise: Tensor, rows: float) -> tuple[Tensor, bool]:
    """x (d,) with noise (d,), one number after the other, as each may decide the next one's unit, and whether the curvature
    told all units.

    Of a number that the objective does not depend on as yet, the unit is where others' slopes bend with it: of a rate in
    exp(-b x), a part of 1 / x. Those of which nothing tells any wait for the others; the last resort is any power of ten. A
    number that others gave its unit goes to where it is best beside them, and some noise from there."""
    moved = noise.nonzero().flatten()
    left, tells = moved[torch.randperm(len(moved))].tolist(), True
    while left:
        found = ((i, *unit_of(objective, x, i, rows)) for i in left)
        i, unit, curved = next(((i, unit, curved) for i, unit, curved in found if unit is not None), (left[0], None, False))
        left.remove(i)
        if unit is not None and curved and not tells:
            x = best_along(objective, x, i, rows / unit**2)
            unit *= NEAR
        tells &= curved
        step = torch.zeros_like(x)
        step[i] = noise[i] * (10.0 ** float(DECADES * (2 * torch.rand(()) - 1)) if unit is None else unit)
        found = finite(objective, x, step)
        x = x if found is None else found
    return x, tells


def unit_of(objective: Objective, x: Tensor, i: int, rows: float) -> tuple[float | None, bool]:
    """The unit of coordinate i at x (d,), None where nothing tells it as yet, and whether the curvature does."""
    h = curvature(objective, x, i)
    return (sqrt(rows / h), True) if h > 0 else (bend(objective, x, i, objective(x)[1]), False)


def best_along(objective: Objective, x: Tensor, i: int, h: float) -> Tensor:
    """x (d,) after one of Newton's steps along coordinate i, if that is one down."""
    value, gradient = objective(x)
    at = x.clone()
    at[i] -= float(gradient[i]) / h
    return at if objective(at)[0] < value else x


def above_zero(objective: Objective, positive: AbstractSet[str]) -> list[slice]:
    """Where the numbers of positive parameters stand."""
    return [slice(slot.start, slot.stop) for slot in objective.slots if slot.name in positive and slot.stop > slot.start]


def sized(objective: Objective, x: Tensor, groups: list[slice], apart: Tensor) -> tuple[Tensor, list[slice]]:
    """x (d,) with each group of positive numbers at a power of ten that suits the data, and the groups of which nothing tells
    one as yet. apart (d,): by how many of their logarithms the numbers of a group differ from these.

    A half-saturation k in v x / (k + x) makes no difference below and above the data: it starts where it makes most, which is
    in them. Others, as v, start where the objective is lowest. Those of the first kind come first."""
    left = list(groups)
    for bounded in (False, True):
        for at in list(left):
            decade = suited(objective, x, at, apart, bounded)
            if decade is not None:
                x, left = at_decade(x, at, decade, apart), [other for other in left if other != at]
    return x, left


def suited(objective: Objective, x: Tensor, at: slice, apart: Tensor, bounded: bool) -> float | None:
    """The power of ten for a group of positive numbers: where the objective changes most, if it has no lowest value between the
    farthest decades and is `bounded`, else where it is lowest; None where it is of the other kind, or does not change."""
    decades = [float(decade) for decade in range(-FAR, FAR + 1)]
    values = torch.tensor([objective(at_decade(x, at, decade, apart))[0] for decade in decades], dtype=torch.float64)
    changes = values.diff().abs()
    clear = FAINT * (1 + float(values.abs().min()))
    if not values.isfinite().any() or float(values.max() - values.min()) < clear:
        return None
    changes = torch.where(changes.isfinite(), changes, 0.0)
    if is_told(values) == bounded:
        return None
    return decades[int(changes.argmax())] + 0.5 if bounded else decades[int(values.argmin())]


def is_told(values: Tensor) -> bool:
    """Whether among values (in nats) by decades one is the lowest: not the first or last, and clearly."""
    return 0 < int(values.argmin()) < len(values) - 1 and float(values.max() - values.min()) > 1


def at_decade(x: Tensor, at: slice, decade: float, apart: Tensor) -> Tensor:
    """x (d,) with the numbers there, which are behind softplus, about a power of ten."""
    found = x.clone()
    found[at] = softplus_inverse(10.0**decade * torch.exp(apart[at] - apart[at].mean()))
    return found


def finite(objective: Objective, x: Tensor, noise: Tensor, tries: int = TRIES) -> Tensor | None:
    """x (d,) with as much of the noise (d,) as leaves the objective finite."""
    steps = (x + noise / 2**halving for halving in range(tries))
    return next((at for at in steps if objective(at)[0] < float("inf")), None)


def is_linked(objective: Objective) -> Tensor:
    """Which numbers (d,) stand behind a link function: those of parameters that the module stores as `raw_`."""
    return torch.cat([torch.full((slot.stop - slot.start,), slot.name.startswith("raw_")) for slot in objective.slots])


def started(batch: Mapping[str, Tensor], given: Mapping[str, Tensor] | None) -> Callable[[nn.Module], None]:
    """What lets a module choose its start from a batch, where it can; what spec, user or another run say comes before it."""

    def prepare(module: nn.Module) -> None:
        initialise = getattr(module, "initialise", None)
        if callable(initialise):
            initialise(batch)
        if given is not None:
            module.load_state_dict(dict(given), strict=False)

    return prepare
