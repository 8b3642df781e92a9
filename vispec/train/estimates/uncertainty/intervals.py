"""Intervals from an estimate and its standard error, inside the domain: Wald's on the scale on which the domain has no ends."""

import math
from statistics import NormalDist

from vispec.train.estimates.values import Ends, Estimate, Estimates, Scale

NONE: Ends = (None, None)


def interval(estimate: float, se: float, scale: Scale, level: float, ends: Ends = NONE) -> tuple[float, float]:
    """(low, high) of the level, in (0, 1); the standard error on another scale is that of the delta method. Between two ends
    the scale is that of log-odds of the share of the way, above one that of what is more."""
    start, width = stretch(ends)
    if ends != NONE:
        low, high = interval((estimate - start) / width, se / width, within(scale, ends), level)
        return start + width * low, start + width * high
    z = NormalDist().inv_cdf((1 + level) / 2)
    if scale == "positive":
        ratio = math.exp(min(z * se / estimate, 700.0))
        return estimate / ratio, estimate * ratio
    if scale == "posterior":
        spread = math.log1p((se / estimate) ** 2)  # the log-normal law of this mean and deviation
        middle, width = math.log(estimate) - spread / 2, z * math.sqrt(spread)
        return math.exp(middle - width), math.exp(middle + width)
    if scale == "unit":
        middle, width = math.log(estimate / (1 - estimate)), z * se / (estimate * (1 - estimate))
        return logistic(middle - width), logistic(middle + width)
    return estimate - z * se, estimate + z * se


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(max(x, -745.0)) / (1 + math.exp(max(x, -745.0)))


def stretch(ends: Ends) -> tuple[float, float]:
    """Where the way between the ends begins, and its length, 1 where it has no end."""
    low, high = ends
    start = 0.0 if low is None else low
    return start, 1.0 if high is None else high - start


def within(scale: Scale, ends: Ends) -> Scale:
    """The scale of the way from the lower end on."""
    if ends == NONE:
        return scale
    return "posterior" if ends[1] is None else "unit"


def inside(estimate: float, scale: Scale) -> bool:
    """Whether a value has a place on its scale."""
    return {"unit": 0 < estimate < 1, "positive": estimate > 0, "posterior": estimate > 0}.get(scale, True)


def with_interval(entry: Estimate, level: float) -> Estimate:
    """The same estimate with the interval of a level, where it has a standard error."""
    start, width = stretch(entry.ends)
    if entry.se is None or not inside((entry.estimate - start) / width, within(entry.scale, entry.ends)):
        return entry
    low, high = interval(entry.estimate, entry.se, entry.scale, level, entry.ends)
    return entry.model_copy(update={"low": low, "high": high})


def at_level(estimates: Estimates, level: float) -> Estimates:
    """All intervals at another level."""
    entries = tuple(with_interval(entry, level) for entry in estimates.parameters)
    return estimates.model_copy(update={"parameters": entries, "level": level})
