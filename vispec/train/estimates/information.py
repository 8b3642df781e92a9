"""The observed information: the second derivatives of minus the log-probability where a fit ended, and what they identify.

Everything is in unconstrained space. Free numbers are scaled so that the information has a unit diagonal; its eigenvalues say along
how many directions the data decide (rank: those above 1e-9), and its inverse along these is the covariance of the estimates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vispec.train.newton.curvature import WIDE, Function, hessian

KNOWN = 1e-9  # an eigenvalue of the scaled information above this is one that the data decide
PLAIN = 1e-4  # where the least of them is above this, differences along the coordinates are exact enough
SMALL = 1e-6  # and where one is below this, its sign is not known from those either
NEAR, FAR = 0.05, 10.0  # how far a difference may reach: for a number with an end, in its unconstrained unit; else relative


@dataclass(frozen=True)
class Information:
    """free: which numbers (d,) it is of, the others being held. scale (d,): the root of its diagonal. covariance (d, d): its
    inverse along what is identified, 0 at held numbers. unknown (d, m), bent (d, k): orthonormal directions in scaled numbers that
    the data say nothing of, and along which the log-probability has no maximum. decrement: by the quadratic model, how far
    below the maximum, in nats."""

    free: Tensor
    scale: Tensor
    covariance: Tensor
    unknown: Tensor
    bent: Tensor
    rank: int
    decrement: float

    def share(self, directions: Tensor, row: Tensor) -> float:
        """Of a number with derivatives `row` (d,), how much lies in these directions, from 0 to 1."""
        scaled = self.scaled(row)
        length = float(scaled.norm())
        return float((directions.T @ scaled).norm()) / length if length > 0 else 0.0

    def scaled(self, row: Tensor) -> Tensor:
        """Derivatives (d,) by the scaled free numbers."""
        return torch.where(self.free, row / self.scale, 0.0)


def steps(f: Function, x: Tensor, ends: Tensor) -> Tensor:
    """How far to go along each coordinate for a difference (d,): about WIDE in units of the curvature there.

    ends: which coordinates (d,) lead to an end of a domain; there the curvature itself may be nearly 0."""
    most = torch.where(ends, NEAR, FAR * x.abs().clamp(min=1.0))
    return torch.stack([_step(f, x, i, float(most[i])) for i in range(len(x))]) if len(x) else x.clone()


def _step(f: Function, x: Tensor, i: int, most: float) -> Tensor:
    """The width at which two gradients differ as WIDE asks for, found by a few guesses."""
    width = min(1e-4 * max(float(x[i].abs()), 1.0), most)
    for _ in range(8):
        up, down = x.clone(), x.clone()
        up[i] += width
        down[i] -= width
        (high, above), (low, below) = f(up), f(down)
        if not max(abs(high), abs(low)) < float("inf"):
            width /= 30
            continue
        curvature = abs(float(above[i] - below[i])) / (2 * width)
        better = min(WIDE / curvature**0.5, most) if curvature > 0 else most
        if width / 3 < better < width * 3:
            break
        width = min(better, 1000 * width)
    return x.new_tensor(width)


def second_derivatives(f: Function, x: Tensor, width: Tensor) -> Tensor:
    """(d, d) by differences of so many widths (d,); smaller ones where something is not finite on the way."""
    for shrink in (1.0, 0.1, 0.01):
        found = hessian(f, x, WIDE / (width * shrink), precise=True)
        if bool(found.isfinite().all()):
            return found
    return found


def inform(f: Function, x: Tensor, gradient: Tensor, second: Tensor, free: Tensor) -> Information:
    """What the second derivatives (d, d) at x say of the free numbers (d,), each of which has some curvature."""
    at = free.nonzero()[:, 0]
    scale = torch.ones_like(x)
    scale[at] = second.diagonal()[at].abs().sqrt()
    scaled = second[at][:, at] / scale[at, None] / scale[at]
    w, directions = torch.linalg.eigh(scaled)
    w = torch.stack([_settled(f, x, at, scale, directions[:, i], value) for i, value in enumerate(w)]) if len(w) else w
    known, bent = w > KNOWN, w < -KNOWN
    slope = directions.T @ (gradient[at] / scale[at])
    decrement = 0.5 * float((slope[known].square() / w[known]).sum())
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

    return Information(free, scale, covariance, whole(~known & ~bent), whole(bent), kept, decrement)


def _settled(f: Function, x: Tensor, at: Tensor, scale: Tensor, direction: Tensor, value: Tensor) -> Tensor:
    """An eigenvalue that is near 0, measured along its direction itself over ever wider differences: 0 where one of them says so,
    for a difference that sees curvature where there is none is too narrow (rounding) or too wide; else where two agree best."""
    if abs(float(value)) > SMALL:
        return value
    along = torch.zeros_like(x)
    along[at] = direction / scale[at]
    found: list[float] = []
    for width in (1e-3, 1e-2, 1e-1, 1.0):
        (high, above), (low, below) = f(x + width * along), f(x - width * along)
        if not max(abs(high), abs(low)) < float("inf"):
            break
        found.append(float((above - below) @ along) / (2 * width))
    if not found or min(map(abs, found)) < KNOWN:
        return torch.zeros_like(value)
    pairs = zip(found, found[1:], strict=False)
    best = min(pairs, key=lambda pair: abs(pair[0] - pair[1]) / abs(pair[1]), default=(found[0], found[0]))
    return value.new_tensor(best[1])


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
