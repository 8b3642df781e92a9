"""Gaussian integrals along a chain: a Kalman filter as a scan, whose depth is the logarithm of the chain's length.

Särkkä and García-Fernández, "Temporal parallelization of Bayesian smoothers" (2021), with several right-hand sides: states are
normal given numbers a that are integrated later, s ~ N(m a, P), the last of which is 1."""

from __future__ import annotations

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative


def inverse(matrix: Tensor) -> Tensor:
    """Of small matrices (..., S, S), one by one."""
    size = matrix.shape[-1]
    if size == 1:
        return 1 / matrix
    if size > 2:
        return torch.linalg.inv_ex(matrix)[0]
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


def spans(step: Tensor, spread: Tensor, matrix: Tensor) -> tuple[Tensor, ...]:
    """Each step by itself. step (..., T, S, S + q): a state from that before and a; spread (..., T, S, S): of its noise; matrix
    (..., T, S + q, S + q): the sum of squares of what is seen of it, over states and a."""
    size = step.shape[-2]
    move, start = step[..., :size], step[..., size:]
    seen, pull = matrix[..., :size, :size], matrix[..., :size, size:]
    unit = torch.eye(size, dtype=spread.dtype, device=spread.device)
    shrink = inverse(unit + spread @ seen)
    after_all = shrink @ spread
    slope = seen @ start + pull
    left = move.mT @ shrink.mT
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


def at_once(step: Tensor) -> bool:
    """Whether a scan takes less time than steps one after the other: these work less, by the logarithm of the length, and wait
    for each call. Measured on a CPU; on other devices calls cost more than what they do."""
    length, size = step.shape[-3:-1]
    return step.device.type != "cpu" or step.shape[:-3].numel() * size**2 * length.bit_length() < 600


def one_later(part: Tensor) -> Tensor:
    """Along the chain (..., T, ., .), what was one step before; 0 at the first."""
    return torch.cat([torch.zeros_like(part[..., :1, :, :]), part[..., :-1, :, :]], -3)


def one_earlier(part: Tensor) -> Tensor:
    """What comes one step after; 0 at the last."""
    return torch.cat([part[..., 1:, :, :], torch.zeros_like(part[..., :1, :, :])], -3)


def expanded(step: Tensor, noise: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All of one batch, in float64: step, spread and matrix of `spans`. No state is before the first.

    noise (..., T, S, r): how standard normal numbers enter a state."""
    lead = torch.broadcast_tensors(*(each[..., 0, 0] for each in (step, noise, matrix)))[0].shape
    noise = noise.double()
    step, spread, matrix = (each.double().expand(*lead, *each.shape[-2:]) for each in (step, noise @ noise.mT, matrix))
    size = step.shape[-2]
    first = torch.arange(step.shape[-3], device=step.device)[:, None, None] == 0
    before = torch.arange(step.shape[-1], device=step.device) < size
    return torch.where(first & before, 0.0, step), spread, matrix


def eliminate_chain(matrix: Tensor, step: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of the sums of squares along a chain after its states are integrated out, (..., q, q), and half the
    logarithm of the determinants (...). Arguments as of `spans`, noise as of `expanded`."""
    chain = expanded(step, noise, matrix)
    return (ELIMINATIONS[0] if torch.compiler.is_compiling() else ELIMINATIONS[-1])(*chain)  # type: ignore[return-value]


class EliminatedChain(torch.autograd.Function):
    """The gradient is that of moments: Koopman and Shephard, "Exact score for time series models in state space form",
    1992."""

    @staticmethod
    def forward(ctx, step, spread, matrix):
        size = step.shape[-2]
        reached, mean, now, wide, shrink = filtered(step, spread, matrix)
        pull = matrix[..., :size, size:]
        slope = matrix[..., :size, :size] @ now + pull
        # squares at the filtered mean, and of how far it is from what was foretold: no difference of large numbers
        rest = matrix[..., size:, size:] + now.mT @ slope + pull.mT @ now + slope.mT @ (wide @ slope)
        ctx.save_for_backward(step, spread, matrix, reached, mean, wide)
        return rest.sum(-3), (-0.5 * log_det(shrink).sum(-1)).expand(step.shape[:-3]).clone()

    @staticmethod
    @first_derivative
    def backward(ctx, grad_rest, grad_half):
        step, spread, matrix, reached, mean, wide = ctx.saved_tensors
        seen, pull = to_come(step, spread, matrix)
        shrink = shrunk(wide, seen)  # a difference of what is wide and what is told of it would have no digits
        own, left_over = shrink @ (mean - wide @ pull), shrink @ wide  # the posterior mean and covariance
        slope, weight = seen @ own + pull, seen @ shrink
        grad, half = (grad_rest + grad_rest.mT)[..., None, :, :] / 2, grad_half[..., None, None, None] / 2
        pulled = slope @ grad
        by_move = 2 * (pulled @ one_later(own).mT + half * (weight @ reached))
        below = own @ grad
        top = torch.cat([below @ own.mT + half * left_over, below], -1)
        left = grad.expand(*below.shape[:-2], *grad.shape[-2:])
        by_matrix = torch.cat([top, torch.cat([below.mT, left], -1)], -2)
        return torch.cat([by_move, 2 * pulled], -1), half * weight - pulled @ slope.mT, by_matrix


ELIMINATIONS = [EliminatedChain.apply]  # the last one is asked


def filtered(step: Tensor, spread: Tensor, matrix: Tensor) -> tuple[Tensor, ...]:
    """The Kalman filter: how the state before each varies with it (..., T, S, S), given what is seen before it; mean (..., T,
    S, q) given the same, and with what is seen of itself; spread before that; and by what seeing it shrinks its spread.

    What spreads is of one row where it is that of all: they are as long then, and the same is seen of each."""
    size = step.shape[-2]
    move, start = step[..., :size], step[..., size:]
    seen, pull = matrix[..., :size, :size], matrix[..., :size, size:]
    if at_once(step):
        now, after_all = scanned(spans(step, spread, matrix))[1:3]
        reached = move @ one_later(after_all)
        wide = reached @ move.mT + spread
        return reached, move @ one_later(now) + start, now, wide, shrunk(wide, seen)
    reached, wide, shrink = spreads(*of_one((move, spread, seen)))
    now = recursion(shrink @ move, shrink @ (start - wide @ pull))
    return reached, move @ one_later(now) + start, now, wide, shrink


def spreads(move: Tensor, spread: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of `filtered` what reads no mean."""
    if at_once(move):
        reached = move @ one_later(scanned(spans(move, spread, seen))[2])
        wide = reached @ move.mT + spread
        return reached, wide, shrunk(wide, seen)
    steps = [by_steps(part) for part in (move, spread, seen)]
    after, unit = torch.zeros_like(steps[0][0]), torch.eye(move.shape[-1], dtype=move.dtype, device=move.device)
    found = []
    for to, more, saw in zip(*steps, strict=True):
        reached = torch.bmm(to, after)
        wide = torch.baddbmm(more, reached, to.mT)
        shrink = inverse(torch.baddbmm(unit, wide, saw))
        found.append((reached, wide, shrink))
        after = torch.bmm(shrink, wide)
    reached, wide, shrink = (torch.stack(parts, 1).view(move.shape) for parts in zip(*found, strict=True))
    return reached, wide, shrink


def by_steps(part: Tensor) -> tuple[Tensor, ...]:
    """Of (..., T, ., .) each step, with one axis for all before it."""
    return part.reshape(-1, *part.shape[-3:]).unbind(1)


def shrunk(wide: Tensor, seen: Tensor) -> Tensor:
    """By what seeing a state shrinks its spread."""
    return inverse(torch.eye(wide.shape[-1], dtype=wide.dtype, device=wide.device) + wide @ seen)


def of_one(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Parts (..., T, S, S) of one row (1, ..., T, S, S), where all rows are alike."""
    rows = [part.reshape(-1, *part.shape[-3:]) for part in parts]
    if torch.compiler.is_compiling() or any(not bool((part == part[:1]).all()) for part in rows):
        return parts
    return tuple(part[:1].view([1] * (each.dim() - 3) + [*each.shape[-3:]]) for part, each in zip(rows, parts, strict=True))


def recursion(through: Tensor, enters: Tensor) -> Tensor:
    """Along a chain, what enters at each step (..., T, S, q) and what comes through from that before (..., T, S, S); of this
    one row serves all."""
    rows, (length, size, columns) = through.shape[:-3].numel(), enters.shape[-3:]
    each = enters.reshape(rows, -1, length, size, columns).permute(2, 0, 1, 4, 3)
    links = through.reshape(rows, length, size, size).transpose(0, 1).mT
    found: list[Tensor] = []
    for own, link in zip(each.flatten(2, 3), links, strict=True):
        found.append(torch.baddbmm(own, found[-1], link) if found else own)
    return torch.stack(found).view(each.shape).permute(1, 2, 0, 4, 3).reshape(enters.shape)


def to_come(step: Tensor, spread: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Of each state, the sum of squares by what is seen of it and of all after it, whatever it was before: over the state
    (..., T, S, S), and over it and what is integrated later (..., T, S, q)."""
    size = step.shape[-2]
    seen, pull = matrix[..., :size, :size], matrix[..., :size, size:]
    if at_once(step):
        pull_on, seen_on = (one_earlier(part) for part in scanned(spans(step, spread, matrix), backwards=True)[3:])
        return seen + seen_on, pull - pull_on
    seen, link = told(*of_one((step[..., :size], spread, seen)))
    link = one_earlier(link)
    whole = recursion(link.flip(-3), (pull + seen @ step[..., size:]).flip(-3)).flip(-3)
    return seen, pull + link @ one_earlier(whole)


def told(move: Tensor, spread: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Of `to_come` the first, which reads no mean; and how what follows from a state enters for that before it."""
    unit = torch.eye(move.shape[-1], dtype=move.dtype, device=move.device)
    if at_once(move):
        seen = seen + one_earlier(scanned(spans(move, spread, seen), backwards=True)[4])
        return seen, move.mT @ inverse(unit + seen @ spread)
    found: list[tuple[Tensor, Tensor]] = []
    later = (torch.zeros_like(by_steps(move)[0]),) * 2
    for to, more, saw in zip(*(by_steps(part)[::-1] for part in (move, spread, seen)), strict=True):
        saw = torch.baddbmm(saw, *later)
        link = torch.bmm(to.mT, inverse(torch.baddbmm(unit, saw, more)))
        later = torch.bmm(link, saw), to
        found.append((saw, link))
    seen, link = (torch.stack(parts[::-1], 1).view(move.shape) for parts in zip(*found, strict=True))
    return seen, link


def moments_of_chain(
    matrix: Tensor, step: Tensor, noise: Tensor, mean: Tensor | None = None, covariance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Posterior means (..., T, S + q - 1) and covariances of each state and of what is integrated after the chain, from those
    of these: mean (..., q - 1), covariance likewise."""
    each = spans(*expanded(step, noise, matrix))
    _, start, spread, _, _ = scanned(each)
    *_, pull, seen = scanned(each, backwards=True)
    pull, seen = one_earlier(pull), one_earlier(seen)
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
