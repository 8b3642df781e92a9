"""Gaussian integrals along a chain: a Kalman filter as a scan, whose depth is the logarithm of the chain's length.

Särkkä and García-Fernández, "Temporal parallelization of Bayesian smoothers" (2021), with several right-hand sides: states are
normal given numbers a that are integrated later, s ~ N(m a, P), the last of which is 1."""

from __future__ import annotations

import torch
from torch import Tensor


def inverse(matrix: Tensor) -> Tensor:
    """Of small matrices (..., S, S), one by one."""
    size = matrix.shape[-1]
    if size == 1:
        return 1 / matrix
    if size > 2:
        return torch.linalg.inv(matrix)
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    turned = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return turned / (a * d - b * c)[..., None, None]


def log_det(matrix: Tensor) -> Tensor:
    """log |det| of small matrices (..., S, S)."""
    size = matrix.shape[-1]
    if size == 1:
        return matrix[..., 0, 0].log()
    if size > 2:
        return torch.linalg.slogdet(matrix)[1]
    return (matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]).log()


def after(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Two spans of consecutive steps as one: through, start, spread, pull, seen. Given the state before, the last state of a
    span is N(through · before + start · a, spread), and what the span sees of it is exp(-beforeᵀ seen before / 2 + beforeᵀ pull
    a)."""
    through, start, spread, pull, seen = first
    through_2, start_2, spread_2, pull_2, seen_2 = second
    unit = torch.eye(spread.shape[-1], dtype=spread.dtype, device=spread.device)
    shrink = inverse(unit + spread @ seen_2)
    ahead, back = through_2 @ shrink, through.mT @ shrink.mT
    return (
        ahead @ through,
        ahead @ (start + spread @ pull_2) + start_2,
        ahead @ spread @ through_2.mT + spread_2,
        back @ (pull_2 - seen_2 @ start) + pull,
        back @ seen_2 @ through + seen,
    )


def spans(step: Tensor, noise: Tensor, matrix: Tensor) -> tuple[Tensor, ...]:
    """Each step by itself. step (..., T, S, S + q): a state from that before and a; noise (..., T, S, r): how standard normal
    numbers enter it; matrix (..., T, S + q, S + q): the sum of squares of what is seen of it, over states and a."""
    size = step.shape[-2]
    move, start = step[..., :size], step[..., size:]
    seen, pull = matrix[..., :size, :size], matrix[..., :size, size:]
    spread = noise @ noise.mT
    unit = torch.eye(size, dtype=spread.dtype, device=spread.device)
    shrink = inverse(unit + spread @ seen)
    after_all = shrink @ spread
    slope = seen @ start + pull
    left = move.mT @ (unit - seen @ after_all)
    return shrink @ move, shrink @ (start - spread @ pull), after_all, -left @ slope, left @ seen @ move


def scanned(each: tuple[Tensor, ...], backwards: bool = False) -> tuple[Tensor, ...]:
    """All spans from the first step to each, (..., T, ., .); backwards: from each to the last."""
    length, reach = each[0].shape[-3], 1
    while reach < length:
        early, late = ([part.narrow(-3, start, length - reach) for part in each] for start in (0, reach))
        joined = after(tuple(early), tuple(late))
        if backwards:
            kept = [part.narrow(-3, length - reach, reach) for part in each]
            each = tuple(torch.cat([new, part], -3) for new, part in zip(joined, kept, strict=True))
        else:
            kept = [part.narrow(-3, 0, reach) for part in each]
            each = tuple(torch.cat([part, new], -3) for new, part in zip(joined, kept, strict=True))
        reach *= 2
    return each


def expanded(step: Tensor, noise: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All of one batch, in float64; no state is before the first."""
    lead = torch.broadcast_tensors(*(each[..., 0, 0] for each in (step, noise, matrix)))[0].shape
    step, noise, matrix = (each.double().expand(*lead, *each.shape[-2:]) for each in (step, noise, matrix))
    size = step.shape[-2]
    first = torch.arange(step.shape[-3], device=step.device)[:, None, None] == 0
    before = torch.arange(step.shape[-1], device=step.device) < size
    return torch.where(first & before, 0.0, step), noise, matrix


def eliminate_chain(matrix: Tensor, step: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of the sums of squares along a chain after its states are integrated out, (..., q, q), and half the
    logarithm of the determinants (...). Arguments as of `spans`."""
    step, noise, matrix = expanded(step, noise, matrix)
    size = step.shape[-2]
    _, mean, spread, _, _ = scanned(spans(step, noise, matrix))
    mean, spread = (torch.cat([torch.zeros_like(part[..., :1, :, :]), part[..., :-1, :, :]], -3) for part in (mean, spread))
    move, start = step[..., :size], step[..., size:]
    mean, spread = move @ mean + start, move @ spread @ move.mT + noise @ noise.mT  # before what is seen of a state
    seen, pull, rest = matrix[..., :size, :size], matrix[..., :size, size:], matrix[..., size:, size:]
    unit = torch.eye(size, dtype=step.dtype, device=step.device)
    wide = unit + spread @ seen
    slope = seen @ mean + pull
    crossed = mean.mT @ pull
    rest = rest + mean.mT @ seen @ mean + crossed + crossed.mT - slope.mT @ inverse(wide) @ spread @ slope
    return rest.sum(-3), 0.5 * log_det(wide).sum(-1)


def moments_of_chain(
    matrix: Tensor, step: Tensor, noise: Tensor, mean: Tensor | None = None, covariance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Posterior means (..., T, S + q - 1) and covariances of each state and of what is integrated after the chain, from those
    of these: mean (..., q - 1), covariance likewise."""
    step, noise, matrix = expanded(step, noise, matrix)
    each = spans(step, noise, matrix)
    _, start, spread, _, _ = scanned(each)
    *_, pull, seen = scanned(each, backwards=True)
    pull, seen = (torch.cat([part[..., 1:, :, :], torch.zeros_like(part[..., :1, :, :])], -3) for part in (pull, seen))
    unit = torch.eye(step.shape[-2], dtype=step.dtype, device=step.device)
    shrink = inverse(unit + spread @ seen)
    slope, own = shrink @ (start + spread @ pull), shrink @ spread
    if mean is None or covariance is None:
        return slope[..., 0], own
    slope, start = slope[..., :-1], slope[..., -1]
    mean, covariance = mean[..., None, :], covariance[..., None, :, :]
    whole = start + (slope @ mean[..., None])[..., 0]
    across = slope @ covariance
    top = torch.cat([own + across @ slope.mT, across], -1)
    below = torch.cat([across.mT, covariance.expand(*across.shape[:-2], *covariance.shape[-2:])], -1)
    return torch.cat([whole, mean.expand(*whole.shape[:-1], -1)], -1), torch.cat([top, below], -2)
