"""log P(X ≤ x) and log P(X > x) of the catalog's laws in 50 digits, each by its definition and never as 1 less the other where
that would cancel.

`TAILS[name](x, *params)` of numbers of mpmath; a probability comes as its log-odds, as a module holds it."""

from collections.abc import Callable
from typing import Any

from mpmath import mp, mpf
from references import log_sigmoid

mp.dps = 50
Pair = tuple[Any, Any]


def log(x: Any) -> Any:
    return mp.log(x) if x > 0 else -mp.inf


def pair(below: Any, above: Any) -> Pair:
    """The logarithms of both masses, of which the smaller one is right."""
    below, above = (below, 1 - below) if below < above else (1 - above, above)
    return (log(below), mp.log1p(-below)) if below < above else (mp.log1p(-above), log(above))


def switched(tails: Pair) -> Pair:
    return tails[1], tails[0]


def within(x: Any, low: Any, high: Any, tails: Callable[[], Pair]) -> Pair:
    """The tails of a law between two ends."""
    return (-mp.inf, mpf(0)) if x <= low else (mpf(0), -mp.inf) if x >= high else tails()


def normal(z: Any) -> Pair:
    return pair(mp.erfc(-z / mp.sqrt(2)) / 2, mp.erfc(z / mp.sqrt(2)) / 2)


def hazard(h: Any) -> Pair:
    """Of a law that survives with probability exp(-h)."""
    return pair(-mp.expm1(-h), mp.exp(-h))


def gamma(a: Any, x: Any) -> Pair:
    if x < a:
        return pair(mp.gammainc(a, 0, x, regularized=True), mpf(1))
    return pair(mpf(1), mp.gammainc(a, x, mp.inf, regularized=True))


def beta(a: Any, b: Any, x: Any, y: Any) -> Pair:
    """x = 1 - y."""
    return pair(beta_below(a, b, x, y), mpf(1)) if x * b < y * a else pair(mpf(1), beta_below(b, a, y, x))


def beta_below(a: Any, b: Any, x: Any, y: Any) -> Any:
    """Below 0.95 by the hypergeometric series F(a + b, 1; a + 1; x), whose terms are positive (DLMF 8.17.8)."""
    if x > mpf("0.95"):
        return mp.betainc(a, b, 0, x, regularized=True)
    term = total = mpf(1)
    k = 0
    while term > total * mpf(10) ** -52:
        term *= x * (a + b + k) / (a + 1 + k)
        total += term
        k += 1
    return total * mp.exp(a * log(x) + b * log(y) - log(a) - mp.loggamma(a) - mp.loggamma(b) + mp.loggamma(a + b))


def student_t(x: Any, df: Any, loc: Any, scale: Any) -> Pair:
    square = ((x - loc) / scale) ** 2
    inner, outer = beta(mpf(1) / 2, df / 2, square / (df + square), df / (df + square))
    far = mp.exp(outer) / 2
    found = (mp.log1p(-far), log(far)) if outer < inner else (log((1 + mp.exp(inner)) / 2), log((1 - mp.exp(inner)) / 2))
    return found if x > loc else switched(found)


def negative_binomial(k: Any, r: Any, logit: Any) -> Pair:
    return beta(r, mp.floor(k) + 1, mp.exp(log_sigmoid(-logit)), mp.exp(log_sigmoid(logit)))


def binomial(k: Any, n: Any, logit: Any) -> Pair:
    if k >= n:
        return mpf(0), -mp.inf
    return beta(n - mp.floor(k), mp.floor(k) + 1, mp.exp(log_sigmoid(-logit)), mp.exp(log_sigmoid(logit)))


def bernoulli(k: Any, logit: Any) -> Pair:
    return (log_sigmoid(-logit), log_sigmoid(logit)) if k < 1 else (mpf(0), -mp.inf)


def laplace(z: Any) -> Pair:
    return pair(mp.exp(z) / 2, mpf(1)) if z < 0 else pair(mpf(1), mp.exp(-z) / 2)


def cauchy(z: Any) -> Pair:
    """acot has all digits in a tail."""
    far = mp.atan(1 / abs(z)) / mp.pi if z else mpf(1) / 2
    return pair(far, mpf(1)) if z < 0 else pair(mpf(1), far)


def half_cauchy(z: Any) -> Pair:
    return pair(2 * mp.atan(z) / mp.pi, 2 * mp.atan(1 / z) / mp.pi)


def gumbel(z: Any) -> Pair:
    return switched(hazard(mp.exp(-z)))


def continuous_bernoulli(x: Any, logit: Any) -> Pair:
    if not logit:
        return pair(x, 1 - x)
    whole = mp.expm1(logit)
    return pair(mp.expm1(logit * x) / whole, mp.exp(logit * x) * mp.expm1(logit * (1 - x)) / whole)


def kumaraswamy(x: Any, a: Any, b: Any) -> Pair:
    return hazard(-b * mp.log1p(-mp.exp(a * log(x))))


def truncated_normal(x: Any, loc: Any, scale: Any) -> Pair:
    whole = mp.ncdf(loc / scale)
    return pair((mp.ncdf((x - loc) / scale) - mp.ncdf(-loc / scale)) / whole, mp.ncdf((loc - x) / scale) / whole)


def log_odds(x: Any, low: Any, high: Any) -> Any:
    return log(x - low) - log(high - x)


TAILS: dict[str, Callable[..., Pair]] = {
    "Bernoulli": bernoulli,
    "Beta": lambda x, a, b: within(x, 0, 1, lambda: beta(a, b, x, 1 - x)),
    "Binomial": binomial,
    "Cauchy": lambda x, loc, scale: cauchy((x - loc) / scale),
    "Chi2": lambda x, df: gamma(df / 2, x / 2),
    "ContinuousBernoulli": lambda x, logit: within(x, 0, 1, lambda: continuous_bernoulli(x, logit)),
    "Exponential": lambda x, rate: hazard(rate * x),
    "Gamma": lambda x, a, b: gamma(a, b * x),
    "Geometric": lambda k, logit: hazard(-(mp.floor(k) + 1) * log_sigmoid(-logit)),
    "Gumbel": lambda x, loc, scale: gumbel((x - loc) / scale),
    "HalfCauchy": lambda x, scale: half_cauchy(x / scale),
    "HalfNormal": lambda x, scale: pair(mp.erf(x / scale / mp.sqrt(2)), mp.erfc(x / scale / mp.sqrt(2))),
    "InverseGamma": lambda x, a, b: switched(gamma(a, b / x)),
    "Kumaraswamy": lambda x, a, b: within(x, 0, 1, lambda: kumaraswamy(x, a, b)),
    "Laplace": lambda x, loc, scale: laplace((x - loc) / scale),
    "LogNormal": lambda x, loc, scale: normal((log(x) - loc) / scale),
    "LogitNormal": lambda x, loc, scale, low, high: within(
        x, low, high, lambda: normal((log_odds(x, low, high) - loc) / scale)
    ),
    "NegativeBinomial": negative_binomial,
    "Normal": lambda x, loc, scale: normal((x - loc) / scale),
    "Pareto": lambda x, scale, alpha: within(x, scale, mp.inf, lambda: hazard(alpha * log(x / scale))),
    "Poisson": lambda k, rate: switched(gamma(mp.floor(k) + 1, rate)),
    "ShiftedLogNormal": lambda x, loc, scale, low: within(x, low, mp.inf, lambda: normal((log(x - low) - loc) / scale)),
    "StudentT": student_t,
    "TruncatedNormal": truncated_normal,
    "Uniform": lambda x, low, high: within(x, low, high, lambda: pair((x - low) / (high - low), (high - x) / (high - low))),
    "Weibull": lambda x, scale, k: hazard(mp.exp(k * log(x / scale))),
    "Zero": lambda x: (mpf(0), -mp.inf) if x >= 0 else (-mp.inf, mpf(0)),
}
