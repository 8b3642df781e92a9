"""The table of conjugate pairs: by which family a prior is, and what each reader adds to the natural parameters.

A law on a latent of a family adds a number times each of its statistics, and a number that is free of it: `Told`. Of a rate or
a scale, which is c · u^power of a latent u (or of the reciprocal of one, by its family), what is added depends on c."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vispec.plan.conjugate.families import BETA, DIRICHLET, GAMMA, INVERSE_GAMMA, Family, lgamma
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Node

Nodes = Mapping[str, Node]
NEVER = -math.inf


@dataclass(frozen=True)
class Told:
    """numbers: by statistic. base: the rest of the log-density."""

    numbers: Nodes
    base: Node


@dataclass(frozen=True)
class Prior:
    """tell: from its parameters; events: of one draw."""

    family: Family
    tell: Callable[[Nodes, tuple[Axis, ...]], Told]


@dataclass(frozen=True)
class Reader:
    """slot: the parameter that the latent stands in. power: of u, of which that is a multiple. tell: from the value, the other
    parameters, and in "c" what u^power is multiplied by."""

    slot: str
    tell: Callable[[Node, Nodes], Told]
    power: float = 1.0


def told(base: Node, **numbers: Node) -> Told:
    return Told(numbers, base)


# ---- priors


def beta(p: Nodes, events: tuple[Axis, ...]) -> Told:
    own = {"log": p["concentration1"], "log_rest": p["concentration0"]}
    return Told(own, build.neg(BETA.log_integral(own, events)))


def gamma(p: Nodes, events: tuple[Axis, ...]) -> Told:
    own = {"log": p["concentration"], "minus": p["rate"]}
    return Told(own, build.neg(GAMMA.log_integral(own, events)))


def exponential(p: Nodes, events: tuple[Axis, ...]) -> Told:
    return gamma({"concentration": build.node(1.0), **p}, events)


def chi2(p: Nodes, events: tuple[Axis, ...]) -> Told:
    return gamma({"concentration": build.mul(0.5, p["df"]), "rate": build.node(0.5)}, events)


def dirichlet(p: Nodes, events: tuple[Axis, ...]) -> Told:
    own = {"log": p["concentration"]}
    return Told(own, build.neg(DIRICHLET.log_integral(own, events)))


PRIORS: Mapping[str, Prior] = {
    "Beta": Prior(BETA, beta),
    "Gamma": Prior(GAMMA, gamma),
    "Exponential": Prior(GAMMA, exponential),
    "Chi2": Prior(GAMMA, chi2),
    "InverseGamma": Prior(INVERSE_GAMMA, gamma),
    "Dirichlet": Prior(DIRICHLET, dirichlet),
}


# ---- readers of a probability, or of one minus it: `log_p` and `log_rest` are logarithms of them, in whatever form


def binomial(x: Node, p: Nodes) -> Told:
    """hits log p + misses log(1 - p) + log of total_count choose hits."""
    tries = p["total_count"]
    inside = build.both(at_least(x, 0.0), build.apply("le", x, tries))
    hits, tries = build.where(inside, x, 0.0), build.where(inside, tries, 0.0)
    misses = build.sub(tries, hits)
    choose = build.sub(lgamma(build.add(tries, 1.0)), build.add(lgamma(build.add(hits, 1.0)), lgamma(build.add(misses, 1.0))))
    return told(build.where(inside, choose, NEVER), log_p=hits, log_rest=misses)


def negative_binomial(x: Node, p: Nodes) -> Told:
    inside, failures = at_least(x, 0.0), p["total_count"]
    hits = build.where(inside, x, 0.0)
    choose = build.sub(lgamma(build.add(failures, hits)), build.add(lgamma(failures), lgamma(build.add(hits, 1.0))))
    return told(build.where(inside, choose, NEVER), log_p=hits, log_rest=failures)


def geometric(x: Node, p: Nodes) -> Told:
    inside = at_least(x, 0.0)
    return told(build.where(inside, 0.0, NEVER), log_p=build.node(1.0), log_rest=build.where(inside, x, 0.0))


# ---- readers of a vector of probabilities: the numbers of its entries


def multinomial(x: Node, p: Nodes) -> Told:
    """Of each entry; `terms` are what is summed over them for the number of arrangements."""
    inside = at_least(x, 0.0)
    counts = build.where(inside, x, 0.0)
    return told(build.where(inside, build.neg(lgamma(build.add(counts, 1.0))), NEVER), log_p=counts)


# ---- readers of a rate


def poisson(x: Node, p: Nodes) -> Told:
    inside, c = at_least(x, 0.0), p["c"]
    count = build.where(inside, x, 0.0)
    base = build.sub(times_log(count, c), lgamma(build.add(count, 1.0)))
    return told(build.where(inside, base, NEVER), log=count, minus=c)


def exponential_reader(x: Node, p: Nodes) -> Told:
    inside, c = at_least(x, 0.0), p["c"]
    base = build.where(inside, build.log(c), NEVER)
    return told(base, log=build.node(1.0), minus=build.mul(c, build.where(inside, x, 0.0)))


def gamma_reader(x: Node, p: Nodes) -> Told:
    inside, c, a = build.lt(0.0, x), p["c"], p["concentration"]
    x = build.where(inside, x, 1.0)
    base = build.add(times_log(a, c), build.mul(build.sub(a, 1.0), build.log(x)), build.neg(lgamma(a)))
    return told(build.where(inside, base, NEVER), log=a, minus=build.mul(c, x))


# ---- readers of a scale: u is 1 / scale², up to a factor


def normal(x: Node, p: Nodes) -> Told:
    scaled = build.apply("div", build.sub(x, p["loc"]), p["c"])
    base = build.sub(build.neg(build.log(p["c"])), 0.5 * math.log(2 * math.pi))
    return told(base, log=build.node(0.5), minus=build.mul(0.5, build.apply("square", scaled)))


def log_normal(x: Node, p: Nodes) -> Told:
    inside = build.lt(0.0, x)
    log_x = build.log(build.where(inside, x, 1.0))
    found = normal(log_x, p)
    return Told(found.numbers, build.where(inside, build.sub(found.base, log_x), NEVER))


def half_normal(x: Node, p: Nodes) -> Told:
    inside = at_least(x, 0.0)
    found = normal(build.where(inside, x, 0.0), {**p, "loc": build.node(0.0)})
    return Told(found.numbers, build.where(inside, build.add(found.base, math.log(2)), NEVER))


def times_log(x: Node, c: Node) -> Node:
    return build.node(0.0) if build.is_const(c, 1) else build.mul(x, build.log(c))


def at_least(x: Node, low: float) -> Node:
    return build.apply("le", low, x)


PROBABILITY: Mapping[str, Reader] = {
    "Binomial": Reader("probs", binomial),
    "NegativeBinomial": Reader("probs", negative_binomial),
    "Geometric": Reader("probs", geometric),
}
RATE_OR_SCALE: Mapping[str, Reader] = {
    "Poisson": Reader("rate", poisson),
    "Exponential": Reader("rate", exponential_reader),
    "Gamma": Reader("rate", gamma_reader),
    "Normal": Reader("scale", normal, -0.5),
    "LogNormal": Reader("scale", log_normal, -0.5),
    "HalfNormal": Reader("scale", half_normal, -0.5),
}
