"""Intervals of real numbers with open or closed ends, and what arithmetic and functions make of them.

What is computed from numbers of some intervals lies in the interval given here; of what may have no value (0 / 0, ∞ - ∞), any
number is. A closed end may be one that is never reached, an open one is never. Moore (1966), Interval Analysis.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

INF = math.inf
End = tuple[float, bool]
"""A number, and whether it is reached."""


@dataclass(frozen=True)
class Interval:
    """whole: only whole numbers, and infinities where the ends are closed there."""

    low: float
    high: float
    low_closed: bool = False
    high_closed: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[End, End]:
        return (self.low, self.low_closed), (self.high, self.high_closed)

    def has(self, number: float) -> bool:
        above = self.low < number or (self.low_closed and self.low == number)
        return above and (number < self.high or (self.high_closed and self.high == number))

    @property
    def above_zero(self) -> bool:
        return self.low > 0 or (self.low == 0 and not self.low_closed)

    @property
    def never_negative(self) -> bool:
        return self.low >= 0

    @property
    def in_unit(self) -> bool:
        return self.low >= 0 and self.high <= 1

    def __str__(self) -> str:
        if self.low == self.high:
            return _number(self.low)
        left, right = "[" if self.low_closed else "(", "]" if self.high_closed else ")"
        return f"{left}{_number(self.low)}, {_number(self.high)}{right}"


def _number(value: float) -> str:
    return f"{value:.6g}"


def between(low: End, high: End, whole: bool = False) -> Interval:
    """From one end to the other; of whole numbers, the ends are moved to the next that is reached."""
    (a, first), (b, last) = low, high
    if whole and math.isfinite(a):
        a, first = math.ceil(a) + (not first and a == math.ceil(a)), True
    if whole and math.isfinite(b):
        b, last = math.floor(b) - (not last and b == math.floor(b)), True
    return Interval(float(a), float(b), first, last, whole)


def spanned(ends: Iterable[End], whole: bool = False) -> Interval:
    """The smallest interval with all of these ends; anything, where one of them is no number."""
    found = list(ends)
    if any(math.isnan(value) for value, _ in found):
        return ANYTHING
    low, high = min(value for value, _ in found), max(value for value, _ in found)
    reached = {value for value, is_reached in found if is_reached}
    return between((low, low in reached), (high, high in reached), whole)


def point(value: float) -> Interval:
    return Interval(float(value), float(value), True, True, math.isfinite(value) and float(value).is_integer())


def closed(low: float, high: float, whole: bool = False) -> Interval:
    """All numbers from low to high, both included where they are finite."""
    return Interval(low, high, low > -INF, high < INF, whole)


REAL = Interval(-INF, INF)
ANYTHING = Interval(-INF, INF, True, True)
POSITIVE = Interval(0.0, INF)
UNIT = Interval(0.0, 1.0)
COUNT = closed(0.0, INF, whole=True)
BIT = closed(0.0, 1.0, whole=True)
DOMAINS: Mapping[str, Interval] = {"positive": POSITIVE, "unit": UNIT, "simplex": UNIT, "count": COUNT, "bit": BIT}
"""What a declared domain says. A unit counts as above 0 and below 1: it may stand wherever a positive may."""


def fits(interval: Interval, domain: str) -> bool:
    """Whether all of the interval lies in a domain of numbers."""
    match domain:
        case "positive":
            return interval.above_zero
        case "unit":
            return interval.in_unit
        case "count":
            return interval.whole and interval.never_negative
        case "bit":
            return interval.whole and interval.in_unit
        case _:
            return domain == "real"


# ---- two intervals


def hull(*parts: Interval) -> Interval:
    return spanned((end for part in parts for end in part.ends), all(part.whole for part in parts))


def meet(one: Interval, other: Interval) -> Interval:
    """What lies in both; the first where nothing does, as on a branch that is never taken."""
    low, is_low = max((one.low, not one.low_closed), (other.low, not other.low_closed))
    high, is_high = min((one.high, one.high_closed), (other.high, other.high_closed))
    whole = one.whole or other.whole
    found = between((low, not is_low), (high, is_high), whole)
    empty = found.low > found.high or (found.low == found.high and not (found.low_closed and found.high_closed))
    return one if empty else found


def negative(a: Interval) -> Interval:
    return Interval(-a.high, -a.low, a.high_closed, a.low_closed, a.whole)


def plus(a: Interval, b: Interval) -> Interval:
    if (_infinite(a, INF) and _infinite(b, -INF)) or (_infinite(a, -INF) and _infinite(b, INF)):
        return ANYTHING
    low, high = a.low + b.low, a.high + b.high
    low_closed = (a.low_closed and b.low_closed) or _infinite(a, -INF) or _infinite(b, -INF)
    high_closed = (a.high_closed and b.high_closed) or _infinite(a, INF) or _infinite(b, INF)
    return between((low, low_closed), (high, high_closed), a.whole and b.whole)


def _infinite(a: Interval, value: float) -> bool:
    """Whether an infinity is reached."""
    return a.has(value)


def times(a: Interval, b: Interval) -> Interval:
    for one, other in ((a, b), (b, a)):
        if (one.has(INF) or one.has(-INF)) and other.low <= 0 <= other.high:
            return ANYTHING
    return spanned((_product(x, y) for x in a.ends for y in b.ends), a.whole and b.whole)


def _product(x: End, y: End) -> End:
    """Their product, which is reached where both are, or where a 0 is; 0 · ∞ is a limit of products of 0."""
    (a, first), (b, second) = x, y
    if a == 0 or b == 0:
        return 0.0, (first and a == 0) or (second and b == 0)
    infinite = (math.isinf(a) and first) or (math.isinf(b) and second)
    return a * b, (first and second) or infinite


def inverse(a: Interval) -> Interval:
    """1 / a; anything where a may be 0."""
    if a.has(0) or a.low < 0 < a.high:
        return ANYTHING
    if a.high <= 0:
        return negative(inverse(negative(a)))
    low, high = (0.0 if a.high == INF else 1 / a.high), (INF if a.low == 0 else 1 / a.low)
    return Interval(low, high, a.high_closed, a.low_closed, a == point(1))


def over(a: Interval, b: Interval) -> Interval:
    return times(a, inverse(b))


def power(a: Interval, b: Interval) -> Interval:
    """a ^ b: of a base from 0 up, in each of the two it rises or falls, so the ends meet at corners; 0 ^ 0 is 1."""
    if a.never_negative:
        if b.low <= 0 and (a.high == INF or a.low == 0):
            ends = [
                (1.0, b.has(0) or a.has(1)),
                *(_raised(x, y) for x in a.ends for y in b.ends if x[0] not in (0, INF) or y[0]),
            ]
        else:
            ends = [_raised(x, y) for x in a.ends for y in b.ends]
        return spanned(ends, a.whole and b.whole and b.never_negative)
    if b.low == b.high and b.whole:
        return _whole_power(a, int(b.low))
    return ANYTHING


def _raised(x: End, y: End) -> End:
    (base, first), (exponent, second) = x, y
    if exponent == 0:
        return 1.0, second or (base == 1 and first)
    if base == 0 and exponent < 0:
        return INF, True
    try:
        value = float(base) ** exponent
    except OverflowError:
        value = INF
    return value, (first and (second or base in (0, 1, INF))) or (second and math.isinf(exponent))


def _whole_power(a: Interval, exponent: int) -> Interval:
    """Of a base that may be below 0."""
    if exponent < 0:
        return inverse(_whole_power(a, -exponent))
    ends = [_raised(end, (exponent, True)) for end in a.ends]
    if exponent % 2 == 0 and a.has(0):
        ends.append((float(exponent == 0), True))
    return spanned(ends, a.whole)


def larger(*parts: Interval) -> Interval:
    """max of one number of each."""
    low, first = max((part.low, not part.low_closed) for part in parts)
    high = max(part.high for part in parts)
    reached = any(part.high == high and part.high_closed for part in parts)
    return between((low, not first), (high, reached), all(part.whole for part in parts))


def smaller(*parts: Interval) -> Interval:
    return negative(larger(*map(negative, parts)))


def total(a: Interval, least: int, most: float) -> Interval:
    """The sum of at least `least` and at most `most` numbers of the interval."""
    low = a.low * (most if a.low < 0 else least) if a.low else 0.0
    high = a.high * (most if a.high > 0 else least) if a.high else 0.0
    none = least == 0
    low_closed, high_closed = a.low_closed or (none and low == 0), a.high_closed or (none and high == 0)
    return between(
        (low, (low_closed and low > -INF) or a.has(-INF)), (high, (high_closed and high < INF) or a.has(INF)), a.whole
    )


# ---- functions of one number


def rising(function: Callable[[float], float], at_low: float = -INF, at_high: float = INF) -> Callable[[Interval], Interval]:
    """What an increasing function makes of an interval; its limits at -∞ and ∞."""

    def value(number: float) -> float:
        if math.isinf(number):
            return at_low if number < 0 else at_high
        try:
            return function(number)
        except OverflowError:
            return INF
        except ValueError:  # math domain: the logarithm of 0, say
            return at_low

    return lambda a: spanned((value(number), is_reached) for number, is_reached in a.ends)


def saturating(function: Callable[[float], float], low: float, high: float) -> Callable[[Interval], Interval]:
    """Of an increasing function that floating point takes to its limits: these count as reached."""
    inner = rising(function, low, high)

    def closed_at_limits(a: Interval) -> Interval:
        found = inner(a)
        return between((found.low, found.low_closed or found.low == low), (found.high, found.high_closed or found.high == high))

    return closed_at_limits


def stepped(function: Callable[[float], float]) -> Callable[[Interval], Interval]:
    """Of an increasing function with whole values, which just within an open end may be another than at the end."""

    def value(number: float, towards: float) -> float:
        return function(number if math.isinf(number) else math.nextafter(number, towards))

    def found(a: Interval) -> Interval:
        low = value(a.low, a.low if a.low_closed else INF)
        high = value(a.high, a.high if a.high_closed else -INF)
        return between((low, a.low_closed or math.isfinite(low)), (high, a.high_closed or math.isfinite(high)), True)

    return found


def absolute(a: Interval) -> Interval:
    if a.never_negative:
        return a
    if a.high <= 0:
        return negative(a)
    return spanned([(0.0, True), *((abs(value), is_closed) for value, is_closed in a.ends)], a.whole)


def rectified(a: Interval) -> Interval:
    return larger(a, point(0))


def wave(function: Callable[[float], float]) -> Callable[[Interval], Interval]:
    return lambda a: point(function(a.low)) if a.low == a.high and math.isfinite(a.low) else closed(-1.0, 1.0)


def log_gamma(a: Interval) -> Interval:
    """It falls to its least value, -0.1214862905358496 at 1.4616321449683623, and rises from there (of numbers above 0)."""
    least = 1.4616321449683623
    ends = [(math.lgamma(v) if 0 < v < INF else INF, reached) for v, reached in a.ends]
    if a.low < least < a.high:
        ends.append((-0.12148629053584961, True))
    return spanned(ends)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _phi(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def _floor(x: float) -> float:
    return x if math.isinf(x) else float(math.floor(x))


def _round(x: float) -> float:
    """The nearest whole number; of two, the even one."""
    return x if math.isinf(x) else float(round(x))


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


ELEMENTWISE: Mapping[str, Callable[[Interval], Interval]] = {
    "exp": rising(math.exp, 0.0),
    "log": rising(math.log),
    "sqrt": rising(math.sqrt, 0.0),
    "sigmoid": rising(_sigmoid, 0.0, 1.0),
    "tanh": saturating(math.tanh, -1.0, 1.0),
    "softplus": rising(_softplus, 0.0),
    "relu": rectified,
    "abs": absolute,
    "erf": saturating(math.erf, -1.0, 1.0),
    "Phi": saturating(_phi, 0.0, 1.0),
    "lgamma": log_gamma,
    "sin": wave(math.sin),
    "cos": wave(math.cos),
    "floor": stepped(_floor),
    "round": stepped(_round),
    "sign": stepped(_sign),
}
"""Of each number. `sigmoid`, `softplus` and `exp` stay open at their limits, as declared domains are."""
