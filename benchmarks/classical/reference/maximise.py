"""Maxima by Newton's method with exact Hessians, from many starts, and what the curvature there says of the estimates.

A step solves (|H| + damping) p = g in variables scaled to a unit diagonal of H, where |H| has the absolute values of the
eigenvalues; the damping falls where the step gained and rises where it did not (Levenberg and Marquardt).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from benchmarks.classical.reference.model import Reference, Values, constrain, free_size, to_free

FLAT = 1e-9  # an eigenvalue of the scaled Hessian below this part of the largest is 0
AT_BOUND = 1e-7  # a probability closer than this to 0 or 1 is there


@dataclass(frozen=True)
class Maximum:
    """free: where it is. gap: how far below the maximum the quadratic model says that it is, in nats."""

    value: float
    free: Tensor
    gap: float


def climb(f: Callable[[Tensor], Tensor], free: Tensor, rounds: int = 2000) -> Maximum | None:
    """The local maximum reached from a start; None where f is not finite at the start or has not settled in time."""
    damping, value = 1.0, float(f(free))
    if not isfinite(value):
        return None
    gradient, curvature = derivatives(f, free)
    for _ in range(rounds):
        scale = torch.maximum(curvature.diagonal().abs(), gradient**2 / (2 * abs(value) + 1)).sqrt().clamp(min=1e-150)
        w, Q = torch.linalg.eigh(curvature / scale[:, None] / scale)
        c = Q.T @ (gradient / scale)
        known = w.abs() > FLAT
        gap = float((c[known] ** 2 / w[known].abs()).sum() / 2)
        settled = gap < 1e-11 and w[0] > -1e-6
        if gap < 1e-22 and settled:
            return Maximum(value, free, gap)
        if w[0] < -1e-6 and gap < 1e-6:
            c = c + 1e-3 * (w < -1e-6)  # off the ridge of a saddle
        while damping < 1e14:
            new = free + Q @ (c / (w.abs() + damping + FLAT)) / scale
            found = float(f(new))
            if found > value:
                theirs = derivatives(f, new)
                if all(bool(x.isfinite().all()) for x in theirs):
                    free, value, (gradient, curvature), damping = new, found, theirs, max(damping / 10, 1e-12)
                    break
            damping *= 10
        else:
            return Maximum(value, free, gap)  # nothing gains any more: within rounding
        if settled and damping > 1e3:
            return Maximum(value, free, gap)
    return None


def derivatives(f: Callable[[Tensor], Tensor], free: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient, and minus the Hessian."""
    gradient, curvature = jacobian(f, free), hessian(f, free)
    assert isinstance(gradient, Tensor)
    assert isinstance(curvature, Tensor)
    return gradient, -curvature


def maximise(model: Reference, data: dict) -> tuple[Maximum, dict[str, int]]:
    """The best proper maximum, and how many starts reached which (those within 1e-5 nats are one)."""

    def f(free: Tensor) -> Tensor:
        return model.log_lik(data, **constrain(model.domains, free))

    torch.manual_seed(0)
    first = torch.cat([to_free(*domain, model.start.get(name)) for name, domain in model.domains.items()])
    best, reached = None, Counter()
    for start in range(model.starts):
        noise = model.spread * torch.randn_like(first) if start or model.starts > 1 else 0.0
        found = climb(f, first + noise)
        if found is None:
            reached["none"] += 1
            continue
        proper = model.proper(constrain(model.domains, found.free))
        reached[f"{found.value:.5f}" + ("" if proper else " improper")] += 1
        if proper and (best is None or found.value > best.value):
            best = found
    if best is None:
        raise ValueError("no start reached a proper maximum")
    return best, dict(reached.most_common())


def at_bound(model: Reference, values: Values) -> Values:
    """Which entries stand at the end of their domain."""
    return {name: ends(model, name, value) for name, value in values.items()}


def ends(model: Reference, name: str, value: Tensor) -> Tensor:
    bounded = model.domains[name][0] in ("unit", "simplex")
    return (value < AT_BOUND) | (value > 1 - AT_BOUND) if bounded else torch.zeros_like(value, dtype=torch.bool)


def errors(model: Reference, data: dict, free: Tensor) -> tuple[dict[str, Tensor], int]:
    """Standard errors in the constrained space, by the delta method from the observed information given what is at a bound:
    nan there, and where the data do not identify an entry. And the number of free parameters: the rank, without these.
    """

    def f(free: Tensor) -> Tensor:
        return model.log_lik(data, **constrain(model.domains, free))

    def flat(free: Tensor) -> Tensor:
        return torch.cat([value.flatten() for value in constrain(model.domains, free).values()])

    values = constrain(model.domains, free)
    bound = at_bound(model, values)
    J = jacobian(flat, free)  # (constrained, free)
    kept = ~held(model, values)
    H = -hessian(f, free)[kept][:, kept]
    J = J[:, kept]
    scale = H.diagonal().abs().sqrt().clamp(min=1e-150)
    w, Q = torch.linalg.eigh(H / scale[:, None] / scale)
    rank = w > FLAT * w[-1]
    moves = (J / scale) @ Q  # how each entry moves along each eigenvector
    se = (moves[:, rank] ** 2 / w[rank]).sum(-1).sqrt()
    loose = moves[:, ~rank].abs().amax(-1) > 1e-4 * moves.abs().amax(-1) if (~rank).any() else torch.zeros_like(se).bool()
    se[loose | torch.cat([part.flatten() for part in bound.values()])] = torch.nan
    parts = se.split([value.numel() for value in values.values()])
    return {name: part.view(values[name].shape) for name, part in zip(values, parts, strict=True)}, int(rank.sum())


def held(model: Reference, values: Values) -> Tensor:
    """Which free numbers (d,) are without effect because what stands behind them is at a bound."""
    shown = {name: torch.zeros(free_size(model.domains[name]), dtype=torch.bool) for name in values}
    shown |= {
        name: ends(model, name, value).flatten() for name, value in values.items() if model.domains[name][0] != "cholesky"
    }
    return torch.cat(list(shown.values()))
