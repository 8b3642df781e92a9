"""Predictions of what reads a latent that is integrated by a conjugate pair: its law over the posterior of the latent, where
that is a law of the catalog, else the mean of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import pi

from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, ThenLaw
from vispec.plan.conjugate.families import exactly, lgamma
from vispec.plan.conjugate.integrate import latents_of, posterior
from vispec.plan.conjugate.pairs import RATE_OR_SCALE
from vispec.plan.conjugate.readings import Latent, Readings
from vispec.plan.held.setting import Setting
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Node, Site
from vispec.program.walk import reads, substitute

Params = Mapping[str, Node]


def reads_pair(law: Law, s: Setting) -> bool:
    """Whether a law reads a latent that is integrated by a pair."""
    match law:
        case DrawLaw(_, params):
            return any(site.name in s.f.model.pairs for _, node, _ in params for site in reads(node, Site))
        case ChoiceLaw(_, then, otherwise):
            return reads_pair(then, s) or reads_pair(otherwise, s)
        case ThenLaw(_, laws):
            return any(reads_pair(each, s) for each in laws)
    return False


def over_posterior(law: DrawLaw, s: Setting) -> DrawLaw | Node:
    """A law over the posterior of the latent that it reads, or its mean."""
    readings = Readings(latents_of(s.f, s.f.model.pairs))
    params = {name: node for name, node, _ in law.params}
    if law.distribution in ("Bernoulli", "Categorical", "Multinomial"):
        return DrawLaw(law.distribution, tuple((name, at_mean(node, readings), own) for name, node, own in law.params))
    if law.distribution in OF_ODDS or law.distribution == "Binomial":
        return of_probability(law.distribution, params, readings)
    slot = RATE_OR_SCALE[law.distribution].slot
    c, found, latent, _ = readings.multiple(params[slot], law)
    shape, rate = (told(found, latent, statistic) for statistic in ("log", "minus"))
    given = {**{name: exactly(node) for name, node in params.items() if name != slot}, "c": exactly(c)}
    return (
        WHOLE[law.distribution](given, shape, rate)
        if law.distribution in WHOLE
        else MEANS[law.distribution](given, shape, rate)
    )


def at_mean(node: Node, readings: Readings) -> Node:
    """A value that is affine in latents at their posterior means, which is its own."""
    return substitute([node], {each.site: posterior(each.site).mean for each in readings.latents.values()})[0]


def told(reading: Node, latent: Latent, statistic: str) -> Node:
    """A number of the posterior of the element that a reading is of."""
    return substitute([reading], {latent.site: posterior(latent.site).numbers[statistic]})[0]


def of_probability(name: str, params: Params, readings: Readings) -> Node:
    probs = params["probs"]
    if name == "Binomial":
        return build.mul(params["total_count"], at_mean(probs, readings))
    latent = next(each for each in readings.latents.values() if each.site in reads(probs, Site))
    first, second = (
        substitute([probs], {latent.site: posterior(latent.site).numbers[each]})[0] for each in ("log", "log_rest")
    )
    if readings.reading(probs) is None:  # one minus it
        (inner,) = (arg for arg in probs.args if readings.reading(arg) is not None)
        second, first = (told(inner, latent, each) for each in ("log", "log_rest"))
    return OF_ODDS[name](params, first, second)


def ratio(above: Node, below: Node) -> Node:
    """above / below, infinite where there is no mean."""
    there = build.lt(0.0, below)
    return build.where(there, build.apply("div", above, build.where(there, below, 1.0)), float("inf"))


def narrow(*params: tuple[str, Node]) -> tuple[tuple[str, Node, tuple[Axis, ...]], ...]:
    return tuple((name, build.apply("narrow", node), ()) for name, node in params)


def negative_binomial(p: Params, shape: Node, rate: Node) -> DrawLaw:
    return DrawLaw(
        "NegativeBinomial", narrow(("total_count", shape), ("probs", build.apply("div", p["c"], build.add(p["c"], rate))))
    )


def student_t(p: Params, shape: Node, rate: Node) -> DrawLaw:
    scale = build.mul(p["c"], build.apply("sqrt", build.apply("div", rate, shape)))
    return DrawLaw("StudentT", narrow(("df", build.mul(2.0, shape)), ("loc", p["loc"]), ("scale", scale)))


def half_normal(p: Params, shape: Node, rate: Node) -> Node:
    """c √(2 / π) E u^(-1/2)."""
    half = build.sub(shape, 0.5)
    there = build.lt(0.0, half)
    log_mean = build.sub(lgamma(build.where(there, half, 1.0)), lgamma(shape))
    scale = build.mul(p["c"], build.apply("sqrt", rate), (2 / pi) ** 0.5)
    return build.where(there, build.mul(scale, build.exp(log_mean)), float("inf"))


WHOLE: Mapping[str, Callable[..., DrawLaw]] = {"Poisson": negative_binomial, "Normal": student_t}
MEANS: Mapping[str, Callable[[Params, Node, Node], Node]] = {
    "Exponential": lambda p, shape, rate: ratio(rate, build.mul(build.sub(shape, 1.0), p["c"])),
    "Gamma": lambda p, shape, rate: ratio(build.mul(p["concentration"], rate), build.mul(build.sub(shape, 1.0), p["c"])),
    "LogNormal": lambda p, shape, rate: build.node(float("inf")),  # that of a logarithm that has a Student's t law
    "HalfNormal": half_normal,
}
OF_ODDS: Mapping[str, Callable[[Params, Node, Node], Node]] = {
    "Geometric": lambda p, a, b: ratio(b, build.sub(a, 1.0)),
    "NegativeBinomial": lambda p, a, b: ratio(build.mul(p["total_count"], a), build.sub(b, 1.0)),
}
