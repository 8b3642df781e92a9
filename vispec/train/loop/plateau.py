"""Whether a noisy objective still rises, and how fast: the end of a fit whose steps do not tell how far away the maximum is.

What is known of such a fit is the mean objective of each epoch, with the noise of minibatches and draws. A line is laid by
least squares through the last half of the epochs, cut into blocks: neighbouring epochs err alike where parameters drift, the
means of long blocks hardly do (the method of batch means; Law and Kelton, "Simulation modeling and analysis"). An approach that
slows down brings less in the epochs to come than in as many before, so this half bounds what half as many again would bring.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt
from typing import Literal

from pydantic import BaseModel, ConfigDict

TOLERANCE = 1e-3  # nats a row: what half a fit may have brought and yet count for nothing,
SHARE = 0.5  # or this part of the noise of one epoch, if that is more
TINY = 1e-12  # nats a row and epoch: less is not told
GROWTH = 1.25  # of the number of epochs from one look at the series to the next
BLOCKS = 8  # at most, in the half that is looked at
QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447)  # of Student's t at 97.5 %, with 1, 2, ... degrees of freedom
KEPT = 512  # means at most, over as many epochs each

Course = Literal["rises", "falls", "flat", "unclear"]


class Series(BaseModel):
    """The objective of a restart, epoch by epoch: means over `width` epochs each, and the sum over the `count` since."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    width: int = 1
    means: list[float] = []
    sum: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """One more epoch, of `value` nats a row on average. Where there come to be too many means, neighbours are merged."""
        self.sum, self.count = self.sum + value, self.count + 1
        if self.count == self.width:
            self.means.append(self.sum / self.width)
            self.sum, self.count = 0.0, 0
        if len(self.means) == KEPT:
            pairs = zip(self.means[::2], self.means[1::2], strict=True)
            self.means, self.width = [(first + second) / 2 for first, second in pairs], 2 * self.width


@dataclass(frozen=True)
class Trend:
    """The line through the last `epochs` epochs. rise: its slope, in nats a row and epoch. error: half the width of the slope's
    95 % interval. noise: standard deviation of an epoch's mean about what its neighbours say, in nats a row."""

    rise: float
    error: float
    noise: float
    epochs: int

    @property
    def course(self) -> Course:
        """Flat, where the interval holds no rise or fall that would count; unclear, where it holds one, but zero as well."""
        counts = max(TOLERANCE, SHARE * self.noise)
        if (abs(self.rise) + self.error) * self.epochs <= counts:
            return "flat"
        if abs(self.rise) <= self.error:
            return "unclear"
        return "rises" if self.rise > 0 else "falls"

    @property
    def words(self) -> str:
        """How a fit has ended whose objective takes this course."""
        unit = "nats a row and epoch"
        match self.course:
            case "flat":
                return f"converged: rising by less than {max(abs(self.rise) + self.error, TINY):.2g} {unit}"
            case "unclear":
                way = "still rising" if self.rise >= 0 else "falling"
                return f"not converged: {way} by {abs(self.rise):.2g} {unit}, give or take {self.error:.2g}"
            case "rises":
                return f"not converged: still rising by {self.rise:.2g} {unit}"
            case "falls":
                return f"not converged: falling by {-self.rise:.2g} {unit}"


def trend(series: Series, part: float = 1.0) -> Trend | None:
    """The line through the second half of a series, or of the first `part` of it; None where that is too short for a line."""
    means = series.means[: ceil(part * len(series.means))]
    half = max(len(means) // 2, min(len(means), 3))
    blocks = min(half, BLOCKS)
    if blocks < 3:
        return None
    size = half // blocks
    used = means[len(means) - blocks * size :]
    slope, error = _line([sum(used[start : start + size]) / size for start in range(0, len(used), size)])
    length = size * series.width  # of a block, in epochs
    noise = sqrt(series.width) * _noise(used)
    return Trend(slope / length, QUANTILES[blocks - 3] * error / length, noise, blocks * length)


def has_settled(series: Series) -> bool:
    """Whether the objective is flat, and was when a fifth of the epochs was still to come: a fit may end."""
    looks = trend(series), trend(series, 1 / GROWTH)
    return all(look is not None and look.course == "flat" for look in looks)


def is_look(epoch: int, least: int) -> bool:
    """Whether the series is to be looked at after `epoch` epochs: after `least` of them, and then at distances that grow with
    the fit. A look after each epoch would sooner or later meet noise that hides a rise."""
    look = least
    while look < epoch:
        look = ceil(look * GROWTH)
    return look == epoch


def ending(series: Series) -> str:
    """How a fit has ended, by its objective."""
    found = trend(series)
    return "not converged: too few epochs to tell how fast the objective still rises" if found is None else found.words


def _line(values: Sequence[float]) -> tuple[float, float]:
    """Slope of the least-squares line through values at 0, 1, ..., and its standard error by the residuals."""
    n = len(values)
    places = [i - (n - 1) / 2 for i in range(n)]
    mean, spread = sum(values) / n, sum(place * place for place in places)
    slope = sum(place * (value - mean) for place, value in zip(places, values, strict=True)) / spread
    residual = sum((value - mean - slope * place) ** 2 for place, value in zip(places, values, strict=True))
    return slope, sqrt(residual / (n - 2) / spread)


def _noise(values: Sequence[float]) -> float:
    """Standard deviation of independent errors, by the differences of neighbours (von Neumann, 1941): a drift adds little."""
    squares = [(after - before) ** 2 for before, after in pairwise(values)]
    return sqrt(sum(squares) / (2 * len(squares)))
