"""The density of a row, with each variable held as its treatment says, as the problem of summing what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vispec.factors import structured
from vispec.factors.frame import Frame, element_plates
from vispec.factors.make import Factors
from vispec.factors.structured import is_structure
from vispec.model.model import Model, Variable
from vispec.plan.conjugate.integrate import without_pairs
from vispec.plan.gaussian.integrate import without
from vispec.plan.guides import is_shared
from vispec.plan.held.adds import labels, log_ratio, minus_kl
from vispec.plan.held.draws import Draws
from vispec.plan.held.hold import Held, hold, values_axis, values_of
from vispec.plan.held.smoothing import smoothed
from vispec.plan.order.problem import Factor, Lag, Latent, Pointer, Problem
from vispec.plan.treatment import Treatment
from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.node import Node, Site
from vispec.program.walk import substitute


@dataclass(frozen=True)
class Joint:
    """problem: what is to be summed, for each row and sample. held: the axes of the summed latents."""

    problem: Problem
    held: Held


def joint(
    f: Factors,
    treatments: Mapping[str, Treatment],
    draws: Draws,
    more: Mapping[str, tuple[Node, frozenset[Axis]]] | None = None,
) -> Joint:
    """The log-density of a row at the draws, its factors ready to be summed; what all rows share is apart. more: a query's
    tilts, with the plates where they stand."""
    model, frame = f.model, f.frame
    nodes = dict[str, tuple[Node, tuple[str, ...]]]()
    summed = [name for name, found in treatments.items() if found.kind == "sum"]
    hidden = dict[str, tuple[Axis, ...]]()  # of a parse, the values of a node and its children; of stretches likewise
    decided = dict[str, Axis]()  # what each element of a plate decides, once for each of its dependents
    values = {name: values_axis(frame, model.variable[name]) for name in summed}
    for name in f.factors:
        variable = model.variable[name]
        if is_structure(variable) and treatments[name].kind == "sum":
            law = f.factors[name].law
            parts_ = structured.parts(frame, variable, law, values[name])
            scores, hidden[name] = dict(parts_.scores), parts_.hidden
            if variable.role == "partial":
                phrases, ends = structured.evidence(frame, variable, parts_)
                scores, hidden[name] = scores | phrases | {"seen": seen(frame, variable)}, (*parts_.hidden, *ends)
            if "decisions" in scores:
                decided[f"decisions_{name}"] = frame.plate(str(variable.type.plate))
            own = (values[name],) if parts_.hidden else ()
            nodes |= {f"{r}_{name}": (build.spread(n, own), element_plates(variable)) for r, n in scores.items()}
            if not parts_.whole:
                norm = structured.log_norm(frame, variable, parts_ if parts_.hidden else structured.parts(frame, variable, law))
                nodes[f"norm_{name}"] = norm, variable.plates
            elif (ways := structured.number_of_ways(frame, variable, law)) is not None:
                nodes[f"ways_{name}"] = ways, variable.plates
        elif not is_shared(variable, model):
            found = terms(f, variable, treatments[name], draws)
            nodes |= {each: (node, variable.plates) for each, node in found.items()}
            if found and (norm := f.factors[name].norm) is not None:
                nodes[f"norm_{name}"] = norm, variable.law_plates
            if (taught := labels(draws, variable)) is not None:
                nodes[f"labels_{name}"] = taught, variable.plates
    for name, (node, plates) in of_whole_stretches(model, frame, nodes, values, hidden).items():
        nodes[name] = node, plates
    sites = {name: site_of(frame, name) for name in summed}
    tilts = more or {}
    parts = [Factor(name, node, frozenset(map(frame.plate, plates))) for name, (node, plates) in nodes.items()]
    parts += [Factor(name, node, plates, True) for name, (node, plates) in tilts.items()]
    roots = substitute([each.node for each in parts], draws.held, frame.hints)
    parts = [replace(each, node=node) for each, node in zip(parts, roots, strict=True)]
    for state, each in frame.states.items():
        frame.named(substitute([state], draws.held)[0], each.site.name)
    integrated = [name for name, found in treatments.items() if found.kind == "integrate"]
    if gaussian := [name for name in integrated if name not in model.pairs]:
        parts = without({name: draws.held[site_of(frame, name)] for name in gaussian}, f, parts)
    if pairs := [name for name in integrated if name in model.pairs]:
        parts = without_pairs(pairs, f, parts, summed)
    along = {at: decided[each.name] for at, each in enumerate(parts) if each.name in decided}
    found, held = hold([each.node for each in parts], sites, values, frame.hints, along)
    factors = tuple(
        replace(each, node=node if each.asks else named(frame, each.name, node))
        for each, node in zip(parts, found, strict=True)
    )
    factors += tuple(counted(frame, model.variable[name], held) for name in summed if has_fewer(held, name))
    factors += tuple(unpadded(frame, name, held) for name in summed if has_padding(held, name))
    latents = tuple(latent(frame, model.variable[name], held) for name in summed)
    latents += tuple(replace(each, name=axis.hint, values=axis) for each in latents for axis in hidden.get(each.name, ()))
    lags = tuple(Lag(each.values, each.of, each.axis, each.steps) for each in held.lags.values())
    pointers = tuple(Pointer(each.values, each.of, each.at) for each in held.pointers.values())
    kept = {frame.plate(plate.name) for plate in model.plates if plate.data}
    kept |= set() if draws.samples is None else {draws.samples}
    return Joint(Problem(factors, latents, frozenset(kept), lags, pointers, numbers=f.numbers), held)


def of_whole_stretches(
    model: Model,
    frame: Frame,
    nodes: Mapping[str, tuple[Node, tuple[str, ...]]],
    values: Mapping[str, Axis],
    hidden: Mapping[str, tuple[Axis, ...]],
) -> dict[str, tuple[Node, tuple[str, ...]]]:
    """What is said of stretches as a whole, along the values of their lengths."""
    found = dict[str, tuple[Node, tuple[str, ...]]]()
    for variable in model.variables:
        if variable.type.whole_of is not None:
            latent, _ = variable.type.whole_of
            node, plates = nodes[f"log_{variable.name}"]
            (lengths,) = frame.shape(variable.type)
            node = build.rename(build.spread(node, (lengths,)), {lengths: hidden[latent][-1]})
            found[f"log_{variable.name}"] = build.spread(node, (values[latent],)), plates
    return found


def named(frame: Frame, name: str, node: Node) -> Node:
    """A factor that is computed, under its own name where it is a density or says which values are possible."""
    return frame.named(node, name) if name.startswith(("log_", "seen_", "guide_")) and node.args else node


def has_fewer(held: Held, name: str) -> bool:
    """Whether a latent that is held by joint values has at some places fewer values than their number counts."""
    return bool(held.along[name]) and held.values[name].lengths is not None


def counted(frame: Frame, variable: Variable, held: Held) -> Factor:
    """-inf where an element has a value that does not count there."""
    value = values_of(site_of(frame, variable.name), held.own[variable.name], held)
    node = build.where(build.lt(value, build.count(held.values[variable.name])), 0.0, -float("inf"))
    return Factor(f"inside_{variable.name}", node, frozenset(map(frame.plate, variable.plates)))


def has_padding(held: Held, name: str) -> bool:
    """Whether a latent is held by joint values along several plates, of which rows may have less."""
    along = held.along[name]
    return len(along) > 1 and any(axis.lengths is not None for axis in along)


def unpadded(frame: Frame, name: str, held: Held) -> Factor:
    """-inf where an element that does not count has another value than the first: each joint value of those that do, once."""
    value = values_of(site_of(frame, name), held.own[name], held)
    padding = build.where(build.both(*map(build.inside, held.along[name])), 0 if value.dtype == "int" else 0.0, value)
    every = {axis: replace(copy(axis), lengths=None) for axis in held.along[name]}
    most = build.reduce("max", build.rename(padding, every), tuple(every.values()))
    node = build.where(build.eq(most, 0), 0.0, -float("inf"))
    return Factor(f"once_{name}", node, frozenset(held.plates[name]))


def latent(frame: Frame, variable: Variable, held: Held) -> Latent:
    """How a summed latent stands; one that is a structure, as that along its plate."""
    name, plates = variable.name, frozenset(held.plates[variable.name])
    if not is_structure(variable):
        guided = any(guide.name == name for guide in frame.model.guide)
        law = f"log_{name}" if variable.type.along is None else None
        return Latent(name, held.own[name], plates, law, guide=f"guide_{name}" if guided else None)
    return Latent(name, held.own[name], plates, None, frame.plate(str(variable.type.plate)), structured.shape_of(variable))


def terms(f: Factors, variable: Variable, treatment: Treatment, draws: Draws) -> dict[str, Node]:
    """What a variable adds to the log-density, by name."""
    name, frame = variable.name, f.frame
    density = f.factors[name].log_prob
    match treatment.kind:
        case "free":
            return {}
        case "integrate" if name in f.model.pairs:
            assert density is not None
            return {f"log_{name}": density}
        case "integrate":  # its law is that of the noise that it is made of, but where the data have it
            if variable.role != "partial":
                return {}
            assert density is not None
            return {f"log_{name}": build.where(frame.observed(variable), density, 0.0)}
        case "draw":
            guided = name in f.guides or draws.way(name).point or variable.role == "partial"
            if not guided:
                return {}
            kl = minus_kl(draws, variable) if treatment.exact or name in draws.analytic else None
            return {f"ratio_{name}": log_ratio(draws, variable)} if kl is None else {f"kl_{name}": kl}
        case "masked":
            assert density is not None
            (at_data,) = substitute([density], {frame.site(variable): frame.data(variable)})
            return {f"log_{name}": build.where(frame.observed(variable), at_data, 0.0)}
    assert density is not None
    found = {f"log_{name}": smoothed(f, variable, density)}
    if treatment.kind == "sum" and (parts := f.factors[name].parts):
        found = {f"moves_{name}": parts[0], f"scores_{name}": parts[1]}
    if treatment.kind == "sum" and name in f.guides:
        found[f"guide_{name}"] = guide_of(f, variable)
    elif treatment.kind == "sum" and variable.role == "partial":
        found[f"seen_{name}"] = seen(frame, variable)
    return found


def guide_of(f: Factors, variable: Variable) -> Node:
    """log q of each value; where a partial variable's cell is seen, q is certain of it."""
    log_q = f.guides[variable.name].log_prob
    assert log_q is not None
    if variable.role != "partial":
        return log_q
    return build.where(f.frame.observed(variable), seen(f.frame, variable), log_q)


def site_of(frame: Frame, name: str) -> Site:
    site = frame.site(frame.model.variable[name])
    assert isinstance(site, Site)
    return site


def seen(frame: Frame, variable: Variable) -> Node:
    """0 at the value that the data has and -inf at others; 0 where the cell is missing."""
    agrees = build.eq(frame.site(variable), frame.data(variable))
    return build.where(build.both(frame.observed(variable), build.apply("not", agrees)), -float("inf"), 0.0)
