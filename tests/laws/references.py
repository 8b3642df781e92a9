"""Log-densities of the catalog's laws in 50 digits, each by its definition.

A law that the catalog gains needs one here: `REFERENCES[name](value, *params)` of numbers of mpmath, lists of them for vectors.
A probability comes as its log-odds, those of a simplex as logits, as a module holds them."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from mpmath import mp, mpf

mp.dps = 50
Reference = Callable[..., Any]


def log(x: Any) -> Any:
    return mp.log(x) if x > 0 else -mp.inf


def inside(condition: bool, found: Any) -> Any:
    return found if condition else -mp.inf


def times(count: Any, logarithm: Any) -> Any:
    """count · log p, 0 where the count is."""
    return count * logarithm if count else mpf(0)


def square(x: Any) -> Any:
    return x * x


def log_choose(n: Any, k: Any) -> Any:
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def normal(x: Any, loc: Any, scale: Any) -> Any:
    return -square((x - loc) / scale) / 2 - log(scale) - log(2 * mp.pi) / 2


def gamma(x: Any, a: Any, b: Any) -> Any:
    return a * log(b) + (a - 1) * log(x) - b * x - mp.loggamma(a)


def beta(x: Any, a: Any, b: Any) -> Any:
    return (a - 1) * log(x) + (b - 1) * log(1 - x) + mp.loggamma(a + b) - mp.loggamma(a) - mp.loggamma(b)


def student_t(x: Any, df: Any, loc: Any, scale: Any) -> Any:
    norm = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - log(df * mp.pi) / 2 - log(scale)
    return norm - (df + 1) / 2 * log(1 + square((x - loc) / scale) / df)


def log_sigmoid(logit: Any) -> Any:
    return -mp.log1p(mp.exp(-logit))


def log_softmax(logits: Any) -> list[Any]:
    norm = log(mp.fsum(map(mp.exp, logits)))
    return [each - norm for each in logits]


def binomial(k: Any, n: Any, logit: Any) -> Any:
    if not 0 <= k <= n:
        return -mp.inf
    return log_choose(n, k) + k * log_sigmoid(logit) + (n - k) * log_sigmoid(-logit)


def negative_binomial(k: Any, r: Any, logit: Any) -> Any:
    found = k * log_sigmoid(logit) + r * log_sigmoid(-logit)
    return found + mp.loggamma(k + r) - mp.loggamma(r) - mp.loggamma(k + 1)


def multinomial(k: Any, n: Any, logits: Any) -> Any:
    terms = (times(each, p) - mp.loggamma(each + 1) for each, p in zip(k, log_softmax(logits), strict=True))
    return inside(mp.fsum(k) == n, mp.loggamma(n + 1) + mp.fsum(terms))


def dirichlet(x: Any, a: Any) -> Any:
    terms = (times(c - 1, log(v)) - mp.loggamma(c) for v, c in zip(x, a, strict=True))
    return mp.loggamma(mp.fsum(a)) + mp.fsum(terms)


def logistic_normal(y: Any, loc: Any, scale: Any) -> Any:
    """Stick breaking: part i is the share sigmoid(x_i - log(D + 1 - i)) of what parts before it left."""
    found = mpf(0)
    for i, (part, m, s) in enumerate(zip(y[:-1], loc, scale, strict=True)):
        rest, after = mp.fsum(y[i:]), mp.fsum(y[i + 1 :])
        found += normal(log(part / after) + log(mpf(len(loc) - i)), m, s) - log(part / rest) - log(after / rest) - log(rest)
    return found


def lkj_cholesky(factor: Any, eta: Any) -> Any:
    D = len(factor)
    alpha = eta + mpf(D - 1) / 2
    norm = mp.fsum(mpf(j) / 2 * log(mp.pi) + mp.loggamma(alpha - mpf(j) / 2) - mp.loggamma(alpha) for j in range(1, D))
    return mp.fsum((D - k - 1 + 2 * eta - 2) * log(factor[k][k]) for k in range(1, D)) - norm


def multivariate_normal(x: Any, loc: Any, tril: Any) -> Any:
    white: list[Any] = []
    for v, m, row in zip(x, loc, tril, strict=True):
        white.append((v - m - mp.fsum(a * w for a, w in zip(row, white, strict=False))) / row[len(white)])
    return mp.fsum(normal(w, 0, 1) - log(row[i]) for i, (w, row) in enumerate(zip(white, tril, strict=True)))


def continuous_bernoulli(x: Any, logit: Any) -> Any:
    return inside(0 <= x <= 1, x * logit - (log(mp.expm1(logit) / logit) if logit else mpf(0)))


def kumaraswamy(x: Any, a: Any, b: Any) -> Any:
    return log(a) + log(b) + (a - 1) * log(x) + (b - 1) * log(-mp.expm1(a * log(x)))


def hard_kumaraswamy(x: Any, a: Any, b: Any) -> Any:
    """A Kumaraswamy stretched to (-0.1, 1.1) and cut off at 0 and 1."""

    def log_survival(t: Any) -> Any:
        return b * log(-mp.expm1(a * log(t)))

    if x == 0:
        return log(-mp.expm1(log_survival(mpf(1) / 12)))
    return log_survival(mpf(11) / 12) if x == 1 else kumaraswamy((10 * x + 1) / 12, a, b) - log(mpf(12) / 10)


def weibull(x: Any, scale: Any, k: Any) -> Any:
    return log(k / scale) + (k - 1) * log(x / scale) - mp.exp(k * log(x / scale))


def gumbel(x: Any, loc: Any, scale: Any) -> Any:
    z = (x - loc) / scale
    return -z - mp.exp(-z) - log(scale)


def von_mises(x: Any, loc: Any, k: Any) -> Any:
    """log I₀ by its asymptotic series where that has 50 digits."""
    if k < 1000:
        return k * mp.cos(x - loc) - log(2 * mp.pi * mp.besseli(0, k))
    terms = accumulate(range(1, 24), lambda term, n: term * square(mpf(2 * n - 1)) / (8 * n * k), initial=mpf(1))
    return k * (mp.cos(x - loc) - 1) - log(2 * mp.pi) + log(2 * mp.pi * k) / 2 - log(mp.fsum(terms))


def logit_normal(x: Any, loc: Any, scale: Any, low: Any, high: Any) -> Any:
    below, above = log(x - low), log(high - x)
    return inside(low < x < high, normal(below - above, loc, scale) - below - above + log(high - low))


def shifted_log_normal(x: Any, loc: Any, scale: Any, low: Any) -> Any:
    return inside(x > low, normal(log(x - low), loc, scale) - log(x - low))


REFERENCES: dict[str, Reference] = {
    "Bernoulli": lambda x, logit: log_sigmoid(logit if x else -logit),
    "Beta": beta,
    "Binomial": binomial,
    "Categorical": lambda x, logits: log_softmax(logits)[int(x)],
    "Cauchy": lambda x, loc, scale: -log(mp.pi * scale) - log(1 + square((x - loc) / scale)),
    "Chi2": lambda x, df: gamma(x, df / 2, mpf(1) / 2),
    "ContinuousBernoulli": continuous_bernoulli,
    "Dirichlet": dirichlet,
    "Exponential": lambda x, rate: log(rate) - rate * x,
    "Flat": lambda x: mpf(0),
    "Gamma": gamma,
    "Geometric": lambda k, logit: k * log_sigmoid(-logit) + log_sigmoid(logit),
    "Gumbel": gumbel,
    "HalfCauchy": lambda x, scale: log(2 / (mp.pi * scale)) - log(1 + square(x / scale)),
    "HalfNormal": lambda x, scale: normal(x, 0, scale) + log(mpf(2)),
    "HardKumaraswamy": hard_kumaraswamy,
    "InverseGamma": lambda x, a, b: a * log(b) - (a + 1) * log(x) - b / x - mp.loggamma(a),
    "Kumaraswamy": kumaraswamy,
    "LKJCholesky": lkj_cholesky,
    "Laplace": lambda x, loc, scale: -abs(x - loc) / scale - log(2 * scale),
    "LogNormal": lambda x, loc, scale: normal(log(x), loc, scale) - log(x),
    "LogitNormal": logit_normal,
    "LogisticNormal": logistic_normal,
    "Multinomial": multinomial,
    "MultivariateNormal": multivariate_normal,
    "NegativeBinomial": negative_binomial,
    "Normal": normal,
    "Pareto": lambda x, scale, alpha: inside(x >= scale, log(alpha) + alpha * log(scale) - (alpha + 1) * log(x)),
    "Poisson": lambda k, rate: times(k, log(rate)) - rate - mp.loggamma(k + 1),
    "ShiftedLogNormal": shifted_log_normal,
    "StudentT": student_t,
    "TruncatedNormal": lambda x, loc, scale: normal(x, loc, scale) - log(mp.ncdf(loc / scale)),
    "Uniform": lambda x, low, high: inside(low <= x < high, -log(high - low)),
    "VonMises": von_mises,
    "Weibull": weibull,
    "Zero": lambda x: inside(x == 0, mpf(0)),
}
