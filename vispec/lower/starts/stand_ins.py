"""What stands in for finite latents in a start: clusters of what they select, or a guess."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vispec.factors.frame import Frame, element_plates, size_of
from vispec.model.model import Variable
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Input, Node, Noise, Part, Site

Given = tuple[Node, tuple[Axis, ...], str]
NUMBERS = ("real", "positive", "count")
SHARES = ("bit", "unit", "simplex")
"""Domains whose values have distances: on a scale of their own, or on one that all share."""


def compared(domain: str, value: Node) -> Node:
    """How the values of a domain are compared."""
    op = {"positive": "log", "count": "sqrt", "simplex": "sqrt"}.get(domain)
    return value if op is None else build.apply(op, value)


def values_of(f: Frame, variable: Variable) -> Node | None:
    """How many values a finite variable has; None where rows differ in that."""
    if variable.type.domain == "bit":
        return build.node(2)
    if variable.type.card is not None:
        return build.number(size_of(variable.type.card))
    size = None if variable.type.plate is None else f.model.plate[variable.type.plate].size
    return None if size is None else build.number(size_of(size))


def plates_of(f: Frame, variable: Variable) -> tuple[Axis, ...]:
    return tuple(map(f.plate, element_plates(variable)))


def evidence_of(f: Frame, latent: Variable, seen: Sequence[Variable]) -> list[Variable]:
    """The observed variables by which the latent's values may be told apart: none, where each of its elements shows one finite
    value, or where its values are places among what is observed."""
    if values_of(f, latent) is None or any(latent.type.plate in v.plates for v in seen):
        return []
    around = [v for v in seen if {*latent.plates} <= {*v.plates} and comparable(f, v)]
    several = [v for v in around if v.type.shape or len(v.plates) > len(latent.plates)]
    numbers = [v for v in around if v.type.domain in (*NUMBERS, "unit", "simplex")]
    return [v for v in around if v in several or v in numbers or v.type.domain != "token"] if several or numbers else []


def comparable(f: Frame, variable: Variable) -> bool:
    """Whether values of a variable have distances between them."""
    return variable.type.domain in (*NUMBERS, *SHARES) or labels(f, variable) is not None


def labels(f: Frame, variable: Variable) -> Node | None:
    """How many labels a variable has that is one."""
    one = variable.type.domain in ("category", "token", "index") and not variable.type.shape
    return values_of(f, variable) if one else None


def clusters(f: Frame, latent: Variable, evidence: Sequence[Variable]) -> Node:
    """The cluster of each of the latent's elements, as its value."""
    axes, count = plates_of(f, latent), values_of(f, latent)
    given = [shown(f, v, axes) for v in evidence if v.type.domain in NUMBERS]
    given += [shown(f, v, axes) for v in evidence if v.type.domain not in NUMBERS]
    masks = [build.inside(axis) for axis in axes if axis.lengths is not None]
    if masks or len(axes) > 1:
        given.append((build.spread(build.both(*masks), axes), axes, "inside"))
    if latent.role == "partial":
        site = f.site(latent)
        assert isinstance(site, Site)
        data = Input(latent.name, site.order, site.kind, "batch")
        known = build.where(f.observed(latent), build.apply("int", data), -1)
        given.append((known, axes, "known"))
    return as_value(latent, Part(Call("clusters", latent.name, tuple(given), ((axes, "int"),), (("count", count),)), 0))


def clusters_of_elements(f: Frame, variable: Variable, value: Node, count: Node, inside: Node | None) -> Node:
    """The cluster of each of a variable's own elements, of which it has numbers or vectors."""
    axes = plates_of(f, variable)
    kind = "numbers" if variable.type.domain in NUMBERS else "shares"
    given = [(compared(variable.type.domain, value), (*axes, *f.shape(variable.type)), kind)]
    if inside is not None or len(axes) > 1:
        given.append((build.spread(build.both() if inside is None else inside, axes), axes, "inside"))
    name = f"elements of {variable.name}"
    return Part(Call("clusters", name, tuple(given), ((axes, "int"),), (("count", count),)), 0)


def guess(f: Frame, latent: Variable) -> Node:
    """Any of its values for each of the latent's elements."""
    axes, count = plates_of(f, latent), values_of(f, latent)
    if count is not None:
        return as_value(latent, Part(Call("guess", latent.name, (), ((axes, "int"),), (("count", count),)), 0))
    lengths = build.apply("real", build.count(f.plate(str(latent.type.plate))))
    return build.apply("int", build.mul(Noise(f"start of {latent.name}", "uniform", axes), lengths))


def as_value(latent: Variable, found: Node) -> Node:
    """Bits are numbers like any other."""
    return build.apply("real", found) if latent.type.domain == "bit" else found


def shown(f: Frame, v: Variable, axes: tuple[Axis, ...]) -> Given:
    """What a variable says of the elements along `axes`, (*axes, ...): its values there, nan where one is missing, with their
    mean or frequencies over elements of which rows have different numbers."""
    kind = "numbers" if v.type.domain in NUMBERS else "shares"
    inner = tuple(axis for axis in plates_of(f, v) if axis not in axes)
    ragged = tuple(axis for axis in inner if axis.lengths is not None)
    seen = [f.observed(v)] if v.role == "partial" else []
    value, events = f.data(v), f.shape(v.type)
    count = labels(f, v)
    if count is not None:
        events = (f.event(label_size(f, v), 0),)
        if ragged == inner and ragged:
            inside = build.both(*map(build.inside, ragged), *seen)
            given = ((value, (*axes, *inner), ""), (build.spread(inside, (*axes, *inner)), (*axes, *inner), "inside"))
            found = Call("frequencies", v.name, given, (((*axes, *events), "real"),), (("size", count), ("lead", len(axes))))
            return Part(found, 0), (*axes, *events), kind
        value = build.apply("real", build.eq(value, build.position(events[0])))
    else:
        value = compared(v.type.domain, value)
    if ragged:
        chosen = build.apply("int", build.spread(build.both(*seen), ragged))
        total = build.reduce("sum", build.where(build.both(*seen), value, 0.0), ragged)
        value = build.apply("div", total, build.reduce("sum", chosen, ragged))
    elif seen:
        value = build.where(seen[0], value, math.nan)
    return value, (*axes, *(axis for axis in inner if axis not in ragged), *events), kind


def label_size(f: Frame, v: Variable) -> int | str:
    """The size of a finite variable's values, as the model has it."""
    found = v.type.card if v.type.card is not None else f.model.plate[str(v.type.plate)].size
    assert found is not None
    return found
