"""Exponential families of latents: the integral over one, and its posterior, both from two natural parameters.

∫ exp(first · T₁(z) + second · T₂(z)) dm(z),    T₁, T₂ the statistics, m the measure that makes the integral a plain one
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Node
from vispec.program.wide import wide

Numbers = Mapping[str, Node]
Events = tuple[Axis, ...]


@dataclass(frozen=True)
class Posterior:
    """Of a latent, given all else: its mean and variance, and its natural parameters."""

    mean: Node
    variance: Node
    numbers: Numbers


@dataclass(frozen=True)
class Family:
    """statistics: what its natural parameters are coefficients of, and what each is called as a parameter. log_integral: from
    these, for each vector of a law on vectors, of which `events` is the last axis. power: of the latent, in the statistics of a
    positive one. has_moments: whether its mean and variance are always finite."""

    name: str
    statistics: Mapping[str, str]
    log_integral: Callable[[Numbers, Events], Node]
    posterior: Callable[[Numbers, Events], Posterior]
    power: float = 1.0
    has_moments: bool = True


# ---- Beta: log z and log(1 - z), by dz / z (1 - z)


def log_beta(n: Numbers, events: Events) -> Node:
    a, b = n["log"], n["log_rest"]
    return build.sub(build.add(lgamma(a), lgamma(b)), lgamma(build.add(a, b)))


def beta_posterior(n: Numbers, events: Events) -> Posterior:
    a, b = n["log"], n["log_rest"]
    total = build.add(a, b)
    mean = build.apply("div", a, total)
    spread = build.mul(mean, build.apply("div", b, total))
    return Posterior(mean, build.apply("div", spread, build.add(total, 1.0)), n)


# ---- Gamma: log z and -z, by dz / z; InverseGamma: the same of 1 / z


def log_gamma(n: Numbers, events: Events) -> Node:
    return build.sub(lgamma(n["log"]), build.mul(n["log"], build.log(n["minus"])))


def gamma_posterior(n: Numbers, events: Events) -> Posterior:
    mean = build.apply("div", n["log"], n["minus"])
    return Posterior(mean, build.apply("div", mean, n["minus"]), n)


def inverse_gamma_posterior(n: Numbers, events: Events) -> Posterior:
    """The mean is infinite up to a concentration of 1, the variance up to 2."""
    shape, rate = n["log"], n["minus"]
    has_mean, has_variance = (build.lt(least, shape) for least in (1.0, 2.0))
    mean = build.apply("div", rate, build.where(has_mean, build.sub(shape, 1.0), 1.0))
    variance = build.apply("div", build.apply("square", mean), build.where(has_variance, build.sub(shape, 2.0), 1.0))
    infinite = float("inf")
    return Posterior(build.where(has_mean, mean, infinite), build.where(has_variance, variance, infinite), n)


# ---- Dirichlet: log z of each entry, by dz / Π z


def log_dirichlet(n: Numbers, events: Events) -> Node:
    total = build.reduce("sum", n["log"], events[-1:])
    return build.sub(build.reduce("sum", lgamma(n["log"]), events[-1:]), lgamma(total))


def dirichlet_posterior(n: Numbers, events: Events) -> Posterior:
    total = build.reduce("sum", n["log"], events[-1:])
    mean = build.apply("div", n["log"], total)
    spread = build.mul(mean, build.sub(1.0, mean))
    return Posterior(mean, build.apply("div", spread, build.add(total, 1.0)), n)


def lgamma(x: Node) -> Node:
    return build.apply("lgamma", x)


def exactly(x: Node) -> Node:
    """In float64; a constant is so as it is."""
    return build.apply("real", x) if isinstance(x, Const) else wide(build.apply("real", x))


POSITIVE = {"log": "concentration", "minus": "rate"}
BETA = Family("Beta", {"log": "concentration1", "log_rest": "concentration0"}, log_beta, beta_posterior)
GAMMA = Family("Gamma", POSITIVE, log_gamma, gamma_posterior)
INVERSE_GAMMA = Family("InverseGamma", POSITIVE, log_gamma, inverse_gamma_posterior, -1.0, False)
DIRICHLET = Family("Dirichlet", {"log": "concentration"}, log_dirichlet, dirichlet_posterior)
