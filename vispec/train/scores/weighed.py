"""Posteriors by weighted draws, in bounded memory: draws come in chunks, and only their running sums, or the best so far, are
kept. The weights p(row, z) / q(z) of a row's draws are divided by their sum."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature

import torch
from torch import Tensor, nn

from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.train.scores.moments import chunks
from vispec.train.scores.weights import AT_ONCE

LOG_WEIGHTS, LOG_Q = "(log_weights)", "(log_q)"
Batch = dict[str, Tensor]
Mean = dict[str, Tensor | dict[str, Tensor]]
"""By name, probabilities of values, or mean and standard deviation."""


@dataclass(frozen=True)
class Chunk:
    """real: the type of the module's numbers. log_weights, log_q: (S, B). values: of what is drawn, (S, B, *plates, *event).
    chances: of what is summed, for each of its values (S, B, *plates, K), by the algebra of the sums."""

    real: torch.dtype
    log_weights: Tensor
    log_q: Tensor
    values: Mapping[str, Tensor]
    chances: Mapping[str, Tensor]


@dataclass
class Weights:
    """Of each row (B,), relative to the largest weight so far: the sum of weights and that of their squares."""

    top: Tensor
    whole: Tensor
    squares: Tensor

    @classmethod
    def none(cls, rows: int, device: torch.device) -> "Weights":
        zero = torch.zeros(rows, dtype=torch.float64, device=device)
        return cls(torch.full_like(zero, -torch.inf), zero, zero)

    def take(self, log_weights: Tensor) -> tuple[Tensor, Tensor]:
        """The weights of further draws (S, B), and by how much those before are less than they were taken for (B,)."""
        top = torch.maximum(self.top, log_weights.amax(0))
        finite = top.clamp(min=torch.finfo(top.dtype).min)  # no draw may be possible
        fewer, weights = (self.top - finite).exp(), (log_weights - finite).exp()
        self.top, self.whole = top, self.whole * fewer + weights.sum(0)
        self.squares = self.squares * fewer.square() + weights.square().sum(0)
        return weights, fewer

    @property
    def effective(self) -> Tensor:
        """How many draws of the posterior itself these are worth; 0 where none is possible."""
        return torch.where(self.whole > 0, self.whole.square() / self.squares, 0.0)


@dataclass
class Moments:
    """Sums of weights times a number, and times its square, less the mean of the first draws: all (B, ...)."""

    middle: Tensor
    dtype: torch.dtype
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.middle), torch.zeros_like(self.middle)

    def take(self, values: Tensor, weights: Tensor, fewer: Tensor) -> None:
        gap = values.double() - self.middle
        self.first = self.first * like(fewer, self.first) + (like(weights, gap) * gap).sum(0)
        self.second = self.second * like(fewer, self.second) + (like(weights, gap) * gap.square()).sum(0)

    def told(self, whole: Tensor) -> dict[str, Tensor]:
        mean, square = self.first / like(whole, self.first), self.second / like(whole, self.second)
        return {"mean": (self.middle + mean).to(self.dtype), "sd": (square - mean.square()).clamp(min=0).sqrt().to(self.dtype)}


def like(value: Tensor, other: Tensor) -> Tensor:
    """With the dimensions of another behind its own."""
    return value.reshape(*value.shape, *[1] * (other.dim() - value.dim()))


def draws(module: nn.Module, batch: Batch, zeros: Mapping[str, Tensor], count: int, total: Callable[[Tensor], Tensor]) -> Chunk:
    """So many draws of each row; total: the algebra of what is summed beside them."""
    ask: Callable[..., Mapping[str, Tensor]] = module.weighted_draws  # pyright: ignore[reportAssignmentType]
    if "tilt" not in signature(ask).parameters:
        found, chances = ask(batch, count), dict[str, Tensor]()
    else:
        tilt = {name: value.expand(count, *value.shape).clone().requires_grad_() for name, value in zeros.items()}
        with torch.enable_grad():
            found = ask(batch, count, total, tilt)
            told = torch.autograd.grad(found[LOG_WEIGHTS].sum(), [*tilt.values()], allow_unused=True, materialize_grads=True)
        chances = {name: each for name, each in zip(tilt, told, strict=True) if name not in found}
    values = {name: value.detach() for name, value in found.items()}
    return Chunk(values[LOG_WEIGHTS].dtype, values.pop(LOG_WEIGHTS).double(), values.pop(LOG_Q).double(), values, chances)


def sizes(samples: int, rows: int) -> list[int]:
    """How many draws of each row there are at once."""
    return [*chunks(samples, max(1, AT_ONCE // max(rows, 1)))]


def zeros_of(module: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """0 for each value of what has finitely many (B, *plates, K)."""
    return module.no_chances(batch) if hasattr(module, "no_chances") else {}  # pyright: ignore


def averaged(module: nn.Module, batch: Batch, rows: int, samples: int) -> tuple[Mean, Tensor]:
    """Of what has finitely many values their probabilities (B, *plates, K), of numbers mean and standard deviation
    (B, *plates, *event); and how many effective samples each row has (B,)."""
    zeros = zeros_of(module, batch)
    chances = {name: value.double() for name, value in zeros.items()}
    moments, weights = dict[str, Moments](), None
    for count in sizes(samples, rows):
        found = draws(module, batch, zeros, count, log_sum_exp)
        weights = weights or Weights.none(rows, found.log_weights.device)
        own, fewer = weights.take(found.log_weights)
        real = found.real
        chances = {name: value * like(fewer, value) for name, value in chances.items()}
        for name, each in found.chances.items():
            chances[name] = chances[name] + (like(own, each) * each).sum(0)
        for name, value in found.values.items():
            if name in chances:
                at = value.movedim(0, -1).long()
                chances[name].scatter_add_(-1, at, like(own.T, at).movedim(1, -1).expand(at.shape))
                continue
            moments.setdefault(name, Moments(value.double().mean(0), real)).take(value, own, fewer)
    assert weights is not None
    told = {name: (value / like(weights.whole, value)).to(zeros[name].dtype) for name, value in chances.items()}
    return told | {name: each.told(weights.whole) for name, each in moments.items()}, weights.effective


def chosen(module: nn.Module, batch: Batch, rows: int, samples: int, query: str) -> tuple[dict[str, Tensor], Tensor]:
    """One of each row's draws, (B, *plates, *event) by name: of the greatest log p(row, draw), `mode`, or one of them by their
    weights, `sample`; and the effective samples (B,)."""
    zeros, best, weights = zeros_of(module, batch), dict[str, Tensor](), None
    highest = torch.empty(0)
    for count in sizes(samples, rows):
        found = draws(module, batch, zeros, count, maximum if query == "mode" else sampled)
        weights = weights or Weights.none(rows, found.log_weights.device)
        score = found.log_weights + found.log_q if query == "mode" else found.log_weights + gumbel(found.log_weights)
        of_all = found if query != "mode" or not found.chances else draws(module, batch, zeros, count, log_sum_exp)
        weights.take(of_all.log_weights)
        values = {**found.values, **{name: each.argmax(-1) for name, each in found.chances.items()}}
        top, at = score.max(0)
        here = {name: value[at, torch.arange(rows, device=at.device)] for name, value in values.items()}
        better = torch.ones_like(top, dtype=torch.bool) if not best else top > highest
        best = {name: torch.where(like(better, value), value, best.get(name, value)) for name, value in here.items()}
        highest = top if not len(highest) else torch.maximum(top, highest)
    assert weights is not None
    return best, weights.effective


def gumbel(like_: Tensor) -> Tensor:
    """Noise, with which the largest of some log-weights is one drawn by them."""
    return -torch.empty_like(like_).exponential_().log_()
