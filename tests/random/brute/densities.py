"""log-densities and log-masses of single values, from their formulas."""

import math
from collections.abc import Callable, Mapping

from tests.random.brute.scalars import Number, lgamma, log, log1p, times, value_of

LOG_2PI = math.log(2 * math.pi)


def whole(x: float, *conditions: bool) -> bool:
    return x == int(x) and x >= 0 and all(conditions)


def bernoulli(x: float, probs: Number) -> Number:
    return log(probs if x == 1 else 1 - probs)


def normal(x: Number, loc: Number, scale: Number) -> Number:
    return -0.5 * ((x - loc) / scale) ** 2 - log(scale) - 0.5 * LOG_2PI


def laplace(x: Number, loc: Number, scale: Number) -> Number:
    gap = x - loc
    return -(gap if value_of(gap) >= 0 else -gap) / scale - log(2 * scale)


def cauchy(x: Number, loc: Number, scale: Number) -> Number:
    return -math.log(math.pi) - log(scale) - log1p(((x - loc) / scale) ** 2)


def exponential(x: float, rate: Number) -> Number:
    return log(rate) - rate * x if x >= 0 else -math.inf


def gamma(x: float, concentration: Number, rate: Number) -> Number:
    return concentration * log(rate) + (concentration - 1) * log(x) - rate * x - lgamma(concentration)


def log_normal(x: float, loc: Number, scale: Number) -> Number:
    return normal(log(x), loc, scale) - log(x)


def poisson(x: float, rate: Number) -> Number:
    return times(x, log(rate)) - rate - math.lgamma(x + 1) if whole(x) else -math.inf


def geometric(x: float, probs: Number) -> Number:
    return times(x, log(1 - probs)) + log(probs) if whole(x) else -math.inf


def binomial(x: float, total_count: Number, probs: Number) -> Number:
    n = value_of(total_count)
    if not whole(x, x <= n):
        return -math.inf
    ways = math.lgamma(n + 1) - math.lgamma(x + 1) - math.lgamma(n - x + 1)
    return ways + times(x, log(probs)) + times(n - x, log(1 - probs))


def zero(x: float) -> Number:
    return 0.0 if x == 0 else -math.inf


def flat(x: float) -> Number:
    return 0.0


def beta(x: float, a: Number, b: Number) -> Number:
    return (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b)


DENSITIES: Mapping[str, Callable[..., Number]] = {
    "Bernoulli": bernoulli,
    "Normal": normal,
    "Laplace": laplace,
    "Cauchy": cauchy,
    "Exponential": exponential,
    "Gamma": gamma,
    "LogNormal": log_normal,
    "Poisson": poisson,
    "Geometric": geometric,
    "Binomial": binomial,
    "Zero": zero,
    "Flat": flat,
    "Beta": beta,
}
