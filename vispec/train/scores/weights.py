"""Bounds of many samples, in bounded memory: importance weights come in chunks, and only their running sums are kept."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vispec.train.errors import OptionError
from vispec.train.scores.counted import weighed

AT_ONCE = 8192  # rows × samples in one chunk

Bound = Literal["exact", "lower", "estimate", "expected", "predictive"]
"""What the sum over rows is: exact; in expectation a lower bound; an estimate; where rows share latents, their expected
log-probability (or a lower bound on that) given what they share, or that of each row's posterior predictive."""


@dataclass(frozen=True)
class Estimator:
    """`iwae(5000)`: the logarithm of the mean weight of so many samples; `elbo(100)`: the mean log-weight."""

    name: Literal["iwae", "elbo"]
    samples: int

    def __str__(self) -> str:
        return f"{self.name}({self.samples})"


def read_estimator(text: str) -> Estimator:
    """`iwae(5000)` or `elbo(samples=100)`; OptionError for anything else."""
    found = re.fullmatch(r"\s*(iwae|elbo)\s*\(\s*(?:samples\s*=\s*)?(\d+)\s*\)\s*", text)
    if found is None or int(found.group(2)) < 1:
        raise OptionError(f"--estimator {text}: expected iwae(SAMPLES) or elbo(SAMPLES), such as iwae(5000)")
    return Estimator(found.group(1), int(found.group(2)))  # type: ignore[arg-type]


def estimate(module: nn.Module, batch: dict[str, Tensor], rows: int, estimator: Estimator) -> tuple[Tensor, Tensor]:
    """The estimate of each row (B,) and its squared standard error, in float64."""
    parts = weights_of(module, batch, rows, estimator)
    return mean_of_logs(parts) if estimator.name == "elbo" else log_of_mean(parts)


def estimate_all(
    module: nn.Module, batch: dict[str, Tensor], rows: int, estimator: Estimator, weight: str | None = None
) -> tuple[Tensor, Tensor]:
    """The estimate of all rows together and its squared standard error, in float64, scalars. Rows that share latents share
    their draws, so their errors are not independent: of iwae, the error is one that they cannot exceed together. weight: the
    key in the batch of how many rows each row stands for."""
    if hasattr(module, "shared") and estimator.name == "elbo":
        parts = (weighed(part, batch, weight).sum(1) for part in weights_of(module, batch, rows, estimator))
        return mean_of_logs(parts)
    found, variance = estimate(module, batch, rows, estimator)
    error = weighed(variance.sqrt(), batch, weight)
    whole = error.sum().square() if hasattr(module, "shared") else error.square().sum()
    return weighed(found, batch, weight).sum(), whole


def weights_of(module: nn.Module, batch: dict[str, Tensor], rows: int, estimator: Estimator) -> Iterator[Tensor]:
    """Log-weights (S, B) in pieces, as many as the estimator has samples."""
    if not hasattr(module, "log_weights"):
        exact = getattr(module, "exact", False)
        reason = "log-probability is exact, and has no" if exact else "draws each have a sum over joint values, but no"
        raise OptionError(f"this model's {reason} weights to average: leave out --estimator")
    chunk = max(1, AT_ONCE // max(rows, 1))
    sizes = [chunk] * (estimator.samples // chunk) + [estimator.samples % chunk]
    return (module.log_weights(batch, size).double() for size in sizes if size)  # pyright: ignore[reportCallIssue]


def mean_of_logs(parts) -> tuple[Tensor, Tensor]:
    """(S, *B) log-weights in pieces → their mean and its squared standard error."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        gap = part.mean(0) - mean
        total = count + len(part)
        squares = squares + (part - part.mean(0)).square().sum(0) + gap.square() * (count * len(part) / total)
        count, mean = total, mean + gap * (len(part) / total)
    return mean, squares / max(count - 1, 1) / count


def log_of_mean(parts) -> tuple[Tensor, Tensor]:
    """(S, B) log-weights in pieces → log of the mean weight, and its squared standard error by the delta method."""
    count, first, second = 0, torch.tensor(-torch.inf), torch.tensor(-torch.inf)
    for part in parts:
        count += len(part)
        first = torch.logaddexp(first, part.logsumexp(0))
        second = torch.logaddexp(second, (2 * part).logsumexp(0))
    ratio = (second - 2 * first + math.log(count)).exp()  # E w² / (E w)²
    return first - math.log(count), (ratio - 1).clamp(min=0) / max(count - 1, 1)
