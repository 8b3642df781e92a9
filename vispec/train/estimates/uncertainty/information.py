"""The observed information: the second derivatives of minus the log-probability where a fit ended, and what they identify.

Everything is in unconstrained space. Free numbers are scaled so that the information has a unit diagonal; its eigenvalues say
along how many directions the data decide (rank: those above 1e-9), and its inverse along these is the covariance of the
estimates.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vispec.train.newton.curvature import WIDE, Function, hessian

KNOWN = 1e-9  # an eigenvalue of the scaled information above this is one that the data decide
PLAIN = 1e-4  # where the least of them is above this, differences along the coordinates are exact enough
SMALL = 1e-6  # and where one is below this, its sign is not known from those either
POLISHING = 20  # steps at most to the maximum itself
RISE = 1e-3  # nats that such a difference may cost: it is of the order of WIDE squared, where the curvature is as it seems
NEAR, FAR = 0.05, 10.0  # how far a difference may reach: for a number with an end, in its unconstrained unit; else relative


@dataclass(frozen=True)
class Information:
    """free: which numbers (d,) it is of, the others being held. scale (d,): the root of its diagonal. covariance (d, d): its
    inverse along what is identified, 0 at held numbers. unknown (d, m), bent (d, k): orthonormal directions in scaled numbers
    that the data say nothing of, and along which the log-probability has no maximum. rank: along how many they decide."""

    free: Tensor
    scale: Tensor
    covariance: Tensor
    unknown: Tensor
    bent: Tensor
    rank: int

    def share(self, directions: Tensor, row: Tensor) -> float:
        """Of a number with derivatives `row` (d,), how much lies in these directions, from 0 to 1."""
        scaled = self.scaled(row)
        length = float(scaled.norm())
        return float((directions.T @ scaled).norm()) / length if length > 0 else 0.0

    def scaled(self, row: Tensor) -> Tensor:
        """Derivatives (d,) by the scaled free numbers."""
        return torch.where(self.free, row / self.scale, 0.0)


@dataclass(frozen=True)
class Probe:
    """Along each coordinate alone: the width of a difference (d,) that is about WIDE in units of the curvature. misses: how far
    below a maximum the fit is at least, in nats, by what one of the numbers alone can gain (Newton's step); nan at an edge,
    where the gradient promises a rise and no step brings one, as at the least of the data under a Pareto law."""

    width: Tensor
    misses: float


def probe(f: Function, x: Tensor, value: float, gradient: Tensor, ends: Tensor, enough: float) -> Probe:
    """Find the widths, the steepest coordinates first, and no more of them once it is known that the fit misses `enough`.

    ends: which coordinates (d,) lead to an end of a domain; there the curvature itself may be nearly 0."""
    most = torch.where(ends, NEAR, FAR * x.abs().clamp(min=1.0))
    width, misses = most.clone(), 0.0
    for i in gradient.abs().argsort(descending=True).tolist():
        width[i], curvature = _probe(f, x, value, i, float(most[i]))
        if curvature > 0:
            misses = max(misses, 0.5 * float(gradient[i]) ** 2 / curvature)
        if misses > enough:
            return Probe(width, misses if _rises(f, x, value, i, -float(gradient[i]) / curvature) else float("nan"))
    return Probe(width, misses)


def _rises(f: Function, x: Tensor, value: float, i: int, step: float) -> bool:
    """Whether a step of the i-th number, or a part of it, lowers minus the log-probability."""
    for part in (1.0, 1e-1, 1e-2, 1e-3, 1e-4):
        tried = x.clone()
        tried[i] += part * step
        if f(tried)[0] < value:
            return True
    return False


def _probe(f: Function, x: Tensor, value: float, i: int, most: float) -> tuple[float, float]:
    """The width at which two gradients differ as WIDE asks for, found by a few guesses, and the curvature."""
    width, curvature = min(1e-4 * max(float(x[i].abs()), 1.0), most), 0.0
    for _ in range(12):
        up, down = x.clone(), x.clone()
        up[i] += 2 * width  # as far as four gradients reach
        down[i] -= 2 * width
        (high, above), (low, below) = f(up), f(down)
        if not max(high, low) - value < RISE:
            most, width = width / 3, width / 10
            continue
        curvature = float(above[i] - below[i]) / (4 * width)
        better = min(WIDE / abs(curvature) ** 0.5, most) if curvature else most
        if width / 3 < better < width * 3:
            break
        width = min(better, 1000 * width)
    return width, curvature


def second_derivatives(f: Function, x: Tensor, width: Tensor) -> Tensor:
    """(d, d) by differences of these widths (d,), or smaller ones where something is not finite on the way; nan if it always
    is."""
    for shrink in (1.0, 0.1, 0.01):
        found = hessian(f, x, WIDE / (width * shrink), precise=True)
        if bool(found.isfinite().all()):
            return found
    return found


@dataclass(frozen=True)
class Spectrum:
    """The scaled information of the free numbers: at (n,), where they stand; scale (d,), 1 elsewhere; eigenvalues w (n,) and
    directions (n, n), in columns."""

    at: Tensor
    scale: Tensor
    w: Tensor
    directions: Tensor

    @classmethod
    def of(cls, second: Tensor, free: Tensor) -> "Spectrum":
        """Of second derivatives (d, d)."""
        at, own = free.nonzero()[:, 0], second.diagonal().abs()
        scale = torch.ones_like(own)
        scale[at] = torch.where(own == 0, second.abs().amax(1), own)[at].sqrt()
        return cls(at, scale, *torch.linalg.eigh(second[at][:, at] / scale[at, None] / scale[at]))

    def slope(self, gradient: Tensor) -> Tensor:
        """A gradient (d,) along the directions (n,)."""
        return self.directions.T @ (gradient[self.at] / self.scale[self.at])

    def decrement(self, gradient: Tensor, known: Tensor) -> float:
        """What a step along the known directions (n,) gains by the quadratic model, in nats."""
        return 0.5 * float((self.slope(gradient)[known].square() / self.w[known]).sum())


def polish(f: Function, x: Tensor, gradient: Tensor, spectrum: Spectrum) -> Tensor:
    """The maximum itself, by steps with the same second derivatives: where the gradient is not 0, the
    curvature of a direction that is not identified is not 0 either. x where that fails."""
    known = spectrum.w > SMALL
    best = spectrum.decrement(gradient, known)
    if not best <= 1 or bool((spectrum.w < -SMALL).any()):
        return x
    for _ in range(POLISHING):
        step = torch.zeros_like(x)
        along = spectrum.slope(gradient)[known] / spectrum.w[known]
        step[spectrum.at] = spectrum.directions[:, known] @ along / spectrum.scale[spectrum.at]
        value, slope = f(x - step)
        now = spectrum.decrement(slope, known)
        if not (value < float("inf") and now < best / 2):
            break
        x, gradient, best = x - step, slope, now
    return x


def inform(f: Function, x: Tensor, spectrum: Spectrum, free: Tensor) -> Information:
    """What the second derivatives at x say of the free numbers (d,), each of which has some curvature."""
    at, scale, directions = spectrum.at, spectrum.scale, spectrum.directions
    w = spectrum.w.clone()
    for i in (w.abs() <= SMALL).nonzero()[:, 0].tolist():
        w[i] = _settled(f, x, at, scale, directions[:, i])
    known, bent = w > KNOWN, w < -SMALL
    basis = x.new_zeros(len(x), int(known.sum()))
    basis[at] = directions[:, known] / w[known].sqrt() / scale[at, None]  # in which the information is the identity, or nearly
    covariance, kept = basis @ basis.T, basis.shape[1]
    if kept and float(w[known].min()) < PLAIN:
        inverse, kept = _inverse(f, x, basis)
        covariance = basis @ inverse @ basis.T

    def whole(which: Tensor) -> Tensor:
        out = x.new_zeros(len(x), int(which.sum()))
        out[at] = directions[:, which]
        return out

    return Information(free, scale, covariance, whole(~known & ~bent), whole(bent), kept)


def _settled(f: Function, x: Tensor, at: Tensor, scale: Tensor, direction: Tensor) -> float:
    """An eigenvalue that is near 0, measured along its direction itself: what the two of ever wider differences say that agree
    best, for the narrow ones round and the wide ones see what is not quadratic."""
    along = torch.zeros_like(x)
    along[at] = direction / scale[at]

    def curvature(width: float) -> float:
        (high, above), (low, below) = f(x + width * along), f(x - width * along)
        finite = max(abs(high), abs(low)) < float("inf")
        return float((above - below) @ along) / (2 * width) if finite else float("nan")

    found: list[float] = []
    for width in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        found.append((4 * curvature(width) - curvature(2 * width)) / 3)
        if len(found) > 1 and abs(found[-1] - found[-2]) < KNOWN / 10:
            break
    pairs = [pair for pair in pairwise(found) if abs(pair[0] - pair[1]) < float("inf")]
    return min(min(pairs, key=lambda pair: abs(pair[0] - pair[1]), default=(0.0, 0.0)), key=abs)


def _inverse(f: Function, x: Tensor, basis: Tensor) -> tuple[Tensor, int]:
    """The inverse of the information in a basis (d, r) in which it is nearly the identity, and its rank: differences along the
    directions themselves are exact also where some of these are nearly unknown."""

    def along(z: Tensor) -> tuple[float, Tensor]:
        value, gradient = f(x + basis @ z)
        return value, basis.T @ gradient

    second = hessian(along, x.new_zeros(basis.shape[1]), x.new_ones(basis.shape[1]), precise=True)
    w, directions = torch.linalg.eigh(second.nan_to_num())
    known = w > 0.1
    return directions[:, known] / w[known] @ directions[:, known].T, int(known.sum())
