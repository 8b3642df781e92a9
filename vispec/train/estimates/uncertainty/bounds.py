"""Which unconstrained numbers a fit has moved to an end of their domain, and which no row of the data has touched.

A probability that the data put at 0 has its log-odds on the way to minus infinity, where a fit stops because nothing is gained
any more: the information is tiny, the log-probability still rises outward, and going on outward loses nothing. The latter is
tried.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vispec.train.newton.curvature import Function

FAINT = 1e-3  # nats: the information about a log-odds or a logarithm that is less than any part of a row would give
NEAR = 1e-3  # of a probability: how close to 0 or 1 an end may be
LOW = -3.0  # what is stored of a positive number close to 0 is its logarithm
OUT = 30.0  # and so far on it counts for nothing
LOSS = 1e-6  # nats that going there may cost
FARTHEST = 10.0  # standard errors, of itself alone, that a number without end is moved on
LOST = 1e-6  # the part of its information below which a number has lost it with another one that is at its end


@dataclass(frozen=True)
class Coordinates:
    """Of the unconstrained numbers (d,): edge, whether one leads to an end of a domain below, at 0; `above`, of a probability
    that is not in a simplex: at 1. open: a positive one has no end above. constrained: where it leads, for those with ends."""

    below: Tensor
    above: Tensor
    open: Tensor
    constrained: Tensor

    @property
    def ends(self) -> Tensor:
        return self.below | self.above


@dataclass(frozen=True)
class Held:
    """at: the numbers (d,) with those at an end moved on outward. bound, endless, unmet: which of them (d,) are at an end, grow
    without one, or were met by no row."""

    at: Tensor
    bound: Tensor
    endless: Tensor
    unmet: Tensor

    @property
    def free(self) -> Tensor:
        return ~(self.bound | self.endless | self.unmet)


def hold(f: Function, x: Tensor, value: float, gradient: Tensor, second: Tensor, of: Coordinates) -> Held:
    """Decide for each of the numbers x (d,), where minus the log-probability has this value and these derivatives."""
    information = second.diagonal().abs()
    untouched = (second == 0).all(1) & (gradient == 0)
    outward = torch.where(untouched & (of.constrained > 1e-12), 0.0, _outward(x, gradient, information, of))
    for i in outward.nonzero()[:, 0]:
        moved = x.clone()
        moved[i] += OUT * outward[i]
        if not f(moved)[0] <= value + LOSS:
            outward[i] = 0.0
    at = x + OUT * outward
    if bool(outward.any()) and not f(at)[0] <= value + LOSS:
        at, outward = x, torch.zeros_like(x)
    bound = outward != 0
    endless = _endless(f, x, value, gradient, information, of) & ~bound
    return Held(at, bound, endless, untouched & ~bound)


def _outward(x: Tensor, gradient: Tensor, information: Tensor, of: Coordinates) -> Tensor:
    """Candidates (d,): -1 or 1 where a number seems to be on its way down or up to an end, else 0."""
    faint = information < FAINT
    low = torch.where(of.open, x < LOW, of.constrained < NEAR)
    down = of.below & low & (gradient >= -1e-9)
    up = of.above & (of.constrained > 1 - NEAR) & (gradient <= 1e-9)
    return torch.where(faint & down, -1.0, torch.where(faint & up, 1.0, 0.0)).to(x)


def _endless(f: Function, x: Tensor, value: float, gradient: Tensor, information: Tensor, of: Coordinates) -> Tensor:
    """Numbers without an end that only grow: in units of themselves they have no information, and a multiple of all of them, or
    of those that rise by themselves, that takes each by many of its standard errors is no worse."""
    own = information.sqrt() * x.abs()
    grown = (~of.ends | (of.open & (x > 1))) & (own > 0) & (own.square() < FAINT)
    for some in (grown, grown & (gradient * x < 0)):
        if bool(some.any()):
            times = 1 + FARTHEST / float(own[some].min())
            if f(torch.where(some, times * x, x))[0] <= value + LOSS:
                return some
    return torch.zeros_like(grown)


def lost(before: Tensor, after: Tensor, held: Held) -> Held:
    """The same with those numbers held too whose information (d, d) went with the numbers that were moved outward."""
    gone = after.diagonal().abs() <= LOST * before.diagonal().abs()
    return Held(held.at, held.bound, held.endless, held.unmet | (held.free & gone))
