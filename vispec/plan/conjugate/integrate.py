"""Factors with latents integrated out by conjugate pairs, and what is asked of their posterior put in its place.

Each factor is affine in the statistics of the latents, read or chosen at any element: the coefficients of each element are
added up over the plates below, and the integral is a function of these sums. This is done before labels are held by their
values, so that a coefficient that reads one gets an axis of values like any other number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from vispec.factors.make import Factors
from vispec.plan.conjugate.families import Posterior, exactly
from vispec.plan.conjugate.readings import Latent, NotConjugateError, Readings, latent_of, listed
from vispec.plan.order.problem import Factor
from vispec.program import build
from vispec.program.affine.fold import Affine
from vispec.program.affine.forms import Form, NotAffineError, Term, dense_along
from vispec.program.axis import Axis
from vispec.program.node import Call, Node, Part, Site
from vispec.program.walk import reads_of, substitute

STATISTICS = ("log", "log_rest", "minus")


def posterior(site: Node) -> Posterior:
    """Of a latent, given all else: nodes in whose place `without_pairs` puts what they are."""
    call = Call("posterior", "", ((site, (), ""),), tuple(((), "real") for _ in range(2 + len(STATISTICS))), ())
    mean, variance, *numbers = (Part(call, index) for index in range(2 + len(STATISTICS)))
    return Posterior(mean, variance, dict(zip(STATISTICS, numbers, strict=True)))


def without_pairs(names: Sequence[str], f: Factors, parts: Sequence[Factor], summed: Collection[str]) -> list[Factor]:
    """The factors with these latents integrated out. summed: the labels. Raises NotConjugateError."""
    latents = latents_of(f, names)
    readings = Readings(latents)
    affine = Affine({leaf: axes for each in latents.values() for leaf, axes in each.leaves().items()})
    totals, left = dict[str, dict[str, list[Node]]]({name: {} for name in names}), list[Factor]()
    for each in parts:
        if each.asks or not readings.below(each.node):
            left.append(each)
            continue
        form = in_statistics(readings, affine, each)
        left.append(replace(each, node=form.offset))
        for term in form.terms:
            name, statistic = term.name.rsplit(" ", 1)
            node = total(term, each, latents[name], summed, name)
            totals[name].setdefault(statistic, []).append(node)
    told = dict[Node, Node]()
    for name, each in latents.items():
        numbers = {statistic: build.add(*nodes) for statistic, nodes in totals[name].items()}
        for statistic, parameter in each.family.statistics.items():
            f.frame.named(numbers[statistic], f"{name}_{parameter}")
        left.append(evidence(each, numbers))
        told |= answers(each, numbers, left)
    found = substitute([each.node for each in left], told)
    for each, node in zip(left, found, strict=True):
        if still := readings.below(node):
            raise NotConjugateError(still, f"{each.name} asks for more of it than its posterior tells")
    return [replace(each, node=node) for each, node in zip(left, found, strict=True)]


def latents_of(f: Factors, names: Sequence[str]) -> dict[str, Latent]:
    return {name: latent(f, name) for name in names}


def latent(f: Factors, name: str) -> Latent:
    variable, frame = f.model.variable[name], f.frame
    site = frame.site(variable)
    assert isinstance(site, Site)
    return latent_of(site, f.factors[name].law, frame.axes_of(variable))


def in_statistics(readings: Readings, affine: Affine, each: Factor) -> Form:
    try:
        return affine.form(readings.of(each.node))
    except NotAffineError as error:
        names = frozenset(name.rsplit(" ", 1)[0] for name in error.names)
        raise NotConjugateError(names, f"{each.name} is not linear in the statistics of {listed(names)}") from error


def total(term: Term, each: Factor, of: Latent, summed: Collection[str], name: str) -> Node:
    """What a term adds to each element of a latent, over the latent's axes."""
    coefficient, back, kept = exactly(term.coefficient), dict[Axis, Axis](), set[Axis]()
    for axis, place in term.at:
        if isinstance(place, Axis):
            back[place] = axis
        elif place is build.position(axis) and (axis in each.plates or axis.kind != "plate"):
            kept.add(axis)
        else:
            seed = dense_along(axis)
            place = build.apply("max", place, 0)  # before the first element of a chain the coefficient is 0
            coefficient = build.where(build.eq(place, build.position(seed)), coefficient, 0.0)
            back[seed] = axis
    over = each.plates - kept
    if label := next((s.name for s in reads_of([coefficient], Site) if s.name in summed and over & {*s.order}), None):
        raise NotConjugateError({name}, why_label(label, each, name))
    coefficient = build.reduce("sum", build.spread(coefficient, over), over)
    return build.rename(coefficient, back)


def why_label(label: str, each: Factor, name: str) -> str:
    if each.name == f"log_{label}":
        return f"its reader `{label}` is no data"
    return f"`{label}` has a value for each of several readers of one `{name}`, and their sum would go over all at once"


def evidence(of: Latent, numbers: Mapping[str, Node]) -> Factor:
    """The log of the integral over each element, of a vector of latents over all of them."""
    whole = build.add(of.family.log_integral(numbers, of.axes), numbers["base"])
    plates = frozenset(axis for axis in of.axes if axis.kind == "plate")
    rest = [axis for axis in of.axes if axis not in plates and axis not in of.events]
    return Factor(f"evidence_{of.name}", build.apply("narrow", build.reduce("sum", build.spread(whole, rest), rest)), plates)


def answers(of: Latent, numbers: Mapping[str, Node], parts: Sequence[Factor]) -> dict[Node, Node]:
    """What is asked of a latent's posterior."""
    asked = [c for c in reads_of([each.node for each in parts], Call) if c.kind == "posterior" and c.given[0][0] is of.site]
    told = dict[Node, Node]()
    for call in asked:
        found = of.family.posterior(numbers, of.axes)
        values = (found.mean, found.variance, *(numbers.get(each) for each in STATISTICS))
        told |= {Part(call, at): build.apply("narrow", value) for at, value in enumerate(values) if value is not None}
    return told
