"""Expected log predictive density: of rows that were fitted by PSIS-LOO over draws, of new ones under the draws' mean.

Leaving row i out weighs a draw by 1 / p(x_i | draw), with weights smoothed by a Pareto law (Vehtari, Gelman and Gabry 2017);
draws from guides are weighed by p / q besides (Magnusson et al. 2019).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vispec.answers.compared.draws import Draws
from vispec.train.errors import RunError

Array = np.ndarray[Any, Any]
GOOD = 0.7
LEAST = 25  # draws, of which 5 are smoothed


@dataclass(frozen=True, eq=False)
class Density:
    """each: of the rows (N,). weights: how many rows each stands for. k: of the Pareto laws (N,), None where no row was left
    out. most: the largest k at which a row's number can be trusted. parameters: how many the draws effectively have, None
    likewise."""

    each: Array
    weights: Array
    most: float
    k: Array | None = None
    parameters: float | None = None

    @property
    def total(self) -> float:
        return float(summed(self.each, self.weights))

    @property
    def error(self) -> float:
        """The standard error of the total, over rows."""
        return spread(self.each, self.weights)

    @property
    def bad(self) -> Array:
        """Which rows have a number that cannot be trusted."""
        return np.zeros(0, np.int64) if self.k is None else np.flatnonzero(~(self.k <= self.most) & (self.weights > 0))


def summed(each: Array, weights: Array) -> Any:
    """Of rows that each stand for so many; one of none adds nothing."""
    return np.where(weights > 0, weights * np.where(weights > 0, each, 0.0), 0.0).sum()


def spread(each: Array, weights: Array) -> float:
    """The standard error of a sum over rows; nan where it is infinite, or of a single row."""
    count = weights.sum()
    if not np.isfinite(each[weights > 0]).all() or count <= 1:
        return math.nan
    squares = summed((each - summed(each, weights) / count) ** 2, weights)
    return math.sqrt(count * squares / (count - 1)) if squares > 0 else 0.0


def array_stats() -> Any:
    """arviz-stats, which smooths the weights."""
    try:
        from arviz_stats.base.array import array_stats as found
    except ImportError as error:
        raise RunError("PSIS-LOO takes arviz-stats: pip install 'vispec[arviz]'") from error
    return found


def left_out(draws: Draws, log_likelihood: Array, weights: Array) -> Density:
    """Each row's log predictive density given the others, of log-likelihoods (S, N) of the rows that were fitted."""
    count, each = len(log_likelihood), log_likelihood.T
    if draws.kind == "fixed":
        return Density(each[:, 0], weights, GOOD, np.zeros(len(each)), 0.0)
    if count < LEAST:
        raise RunError(f"PSIS-LOO takes {LEAST} draws at least, of which it smooths the largest weights")
    most = min(1 - 1 / math.log10(count), GOOD)
    ratio = None
    if draws.log_prior is not None:
        ratio = (draws.log_prior - draws.log_q).numpy() + np.array([summed(row, weights) for row in log_likelihood])
    elpd, k, parameters = (np.array([math.nan] * len(each)) for _ in range(3))
    possible = np.isfinite(each).all(-1)
    elpd[~possible], k[~possible] = -math.inf, math.inf
    if possible.any():
        elpd[possible], k[possible], parameters[possible] = smoothed(each[possible], ratio)
    return Density(elpd, weights, most, k, float(summed(parameters, weights)))


def smoothed(each: Array, ratio: Array | None) -> tuple[Array, Array, Array]:
    """Of log-likelihoods (N, S): the density of each row, its Pareto k, and how many parameters it accounts for. ratio:
    log-weights (S,) that the draws have anyway. Where all draws say the same, nothing is to be smoothed."""
    base = array_stats()
    found: Callable[[Array], Any] = lambda part: (  # noqa: E731
        base.loo(part, chain_axis=None, draw_axis=-1)
        if ratio is None
        else base.loo_approximate_posterior(
            part, *(np.broadcast_to(x, part.shape) for x in (ratio, np.zeros(1))), chain_axis=None, draw_axis=-1
        )
    )
    same = np.ptp(each, axis=-1) == 0 if ratio is None else np.zeros(len(each), bool)
    out = np.stack([each[:, 0], np.zeros(len(each)), np.zeros(len(each))])
    if not same.all():
        out[:, ~same] = np.stack(found(each[~same]))
    return out[0], out[1], out[2]


def of_new(draws: Draws, log_likelihood: Array, weights: Array) -> Density:
    """The log of each row's mean density (S, N) over the draws, of rows that were not fitted."""
    weight = np.zeros(len(log_likelihood))
    if draws.kind == "guide":
        weight = draws.log_p.numpy() - draws.log_q.numpy()
        weight = smooth(weight)
    weight = weight - np.logaddexp.reduce(weight)
    return Density(np.logaddexp.reduce(log_likelihood + weight[:, None], axis=0), weights, GOOD)


def smooth(log_weights: Array) -> Array:
    """Log-weights (S,) with a smoothed tail."""
    found, _ = array_stats().psislw(-(log_weights - log_weights.max()))
    return np.asarray(found)
