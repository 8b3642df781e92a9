"""The problem of summing finite latents: each factor with its readings, as the planner takes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vispec.factors.frame import Frame
from vispec.factors.make import Factors
from vispec.lower.hold import Held, hold
from vispec.model.model import Variable
from vispec.plan.order.problem import Factor, Lag, Latent, Pointer, Problem
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Node, Site
from vispec.program.walk import substitute


@dataclass(frozen=True)
class Exact:
    """problem: what is to be summed. held: the axes of the latents. tilts: latent → what a query adds to its log-joint."""

    problem: Problem
    held: Held
    tilts: Mapping[str, Node]


def exact(
    f: Factors, summed: Collection[str], masked: Collection[str], drawn: Mapping[Node, Node], free: Collection[str]
) -> Exact:
    """What is left to be summed of a model.

    summed: finite latents, and partial variables where they are missing. masked: partial variables that nothing reads, scored
    where they are seen. drawn: site → what holds it. free: latents that integrate to one."""
    model, frame = f.model, f.frame
    nodes, stands = dict[str, Node](), dict[str, tuple[Axis, ...]]()
    for name, factor in f.factors.items():
        variable = model.variable[name]
        if name in free or frame.site(variable) in drawn or factor.log_prob is None:
            continue
        node = factor.log_prob
        if name in masked:
            node = build.where(
                frame.observed(variable), substitute([node], {frame.site(variable): frame.data(variable)})[0], 0.0
            )
        nodes[f"log_{name}"], stands[f"log_{name}"] = node, factor.stands
        if name in summed and variable.role == "partial":
            nodes[f"seen_{name}"], stands[f"seen_{name}"] = seen(frame, variable), factor.stands
    roots = substitute(nodes.values(), drawn)
    sites = {name: site_of(frame, name) for name in summed}
    found, held = hold(roots, sites, {name: values_axis(frame, model.variable[name]) for name in summed})
    names = {held.own[name]: name for name in summed}

    factors = tuple(Factor(name, node, frozenset(stands[name])) for name, node in zip(nodes, found, strict=True))
    latents = tuple(Latent(name, axis, frozenset(held.plates[name]), f"log_{name}") for axis, name in names.items())
    lags = tuple(Lag(each.values, each.of, each.axis, each.steps) for each in held.lags.values())
    pointers = tuple(Pointer(each.values, each.of, each.at) for each in held.pointers.values())
    data = frozenset(frame.plate(plate.name) for plate in model.plates if plate.data)
    return Exact(Problem(factors, latents, data, lags, pointers, numbers=numbers(f)), held, {})


def site_of(frame: Frame, name: str) -> Site:
    site = frame.site(frame.model.variable[name])
    assert isinstance(site, Site)
    return site


def seen(frame: Frame, variable: Variable) -> Node:
    """0 at the value that the data has and -inf at others; 0 where the cell is missing."""
    agrees = build.eq(frame.site(variable), frame.data(variable))
    return build.where(build.apply("and", frame.observed(variable), build.apply("not", agrees)), -float("inf"), 0.0)


def values_axis(frame: Frame, variable: Variable) -> Axis:
    """The axis of a finite variable's values."""
    type_ = variable.type
    if type_.domain == "index" and type_.plate is not None:
        plate = frame.plate(type_.plate)
        return Axis(variable.name, "values", plate.size, plate.lengths, plate)
    card = 2 if type_.domain == "bit" else type_.card
    assert card is not None
    return Axis(variable.name, "values", frame.event(card, 0).size)


def numbers(f: Factors) -> Numbers:
    """The sizes that the spec gives."""
    return Numbers({size.name: size.value for size in f.model.sizes if size.value is not None})
