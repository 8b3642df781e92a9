"""Laws with nodes for their parameters, and the log-density of a value under one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vispec.catalog import Distribution, distributions
from vispec.factors.expressions import expression, sequence
from vispec.factors.frame import Frame
from vispec.model import model as m
from vispec.model.types import Dim, Type
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Density, Node
from vispec.program.wide import wide
from vispec.structures.elements import from_element


@dataclass(frozen=True)
class DrawLaw:
    """A distribution. params: name → node, over event axes (`own`) that one draw has of it, and others that are elementwise."""

    distribution: str
    params: tuple[tuple[str, Node, tuple[Axis, ...]], ...]


@dataclass(frozen=True)
class ChoiceLaw:
    test: Node
    then: Law
    otherwise: Law


@dataclass(frozen=True)
class ThenLaw:
    """The laws of the first, the second, ... element along a chain; the last is for all that follow."""

    axis: Axis
    laws: tuple[Law, ...]


@dataclass(frozen=True)
class FlowLaw:
    """A draw of a Normal carried through inverse autoregressive layers that also read a context."""

    base: DrawLaw
    context: Node | None
    attribute: str
    settings: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class StateLaw:
    """Of a state that a loop carries beside what it draws: its value, for sure."""

    value: Node


Law = DrawLaw | ChoiceLaw | ThenLaw | FlowLaw | StateLaw


def law(f: Frame, variable: m.Variable, found: m.Law) -> Law:
    """A law of the model with nodes in place of expressions."""
    match found:
        case m.Draw(distribution=name, args=args):
            entry = distributions()[name]
            return DrawLaw(name, tuple((n, *parameter(f, entry, n, e, variable.type)) for n, e in args))
        case m.Choice(test=test, then=then, otherwise=otherwise):
            return ChoiceLaw(expression(f, test), law(f, variable, then), law(f, variable, otherwise))
        case m.Then(laws=laws):
            plate = next(p for p in reversed(variable.plates) if f.model.plate[p].kind == "chain")
            return ThenLaw(f.plate(plate), tuple(law(f, variable, each) for each in laws))
        case m.Flow(base=base, context=context, settings=settings, attribute=attribute):
            inner = law(f, variable, base)
            assert isinstance(inner, DrawLaw)
            return FlowLaw(inner, None if context is None else expression(f, context), attribute, settings)


def parameter(f: Frame, entry: Distribution, name: str, e: m.Expression, type_: Type) -> tuple[Node, tuple[Axis, ...]]:
    """A parameter and its own event axes; its other dimensions meet the value's. A number stands for all of a vector."""
    rank = entry.param_event_dim.get(name, entry.event_dim)
    if e.type.star:  # one for each element of a plate: of a law over all of them
        found = sequence(f, e)
        return found.node, (found.axis, *f.shape(e.type))
    node, shape = expression(f, e), e.type.shape
    if rank and not shape:
        own = (f.axes((_longer(type_.shape[-1], entry.size_delta.get(name, 0)),)),)
        return build.spread(node, own[0]), own[0]
    own = f.shape(e.type)[len(shape) - rank :] if rank else ()
    extra = rank - entry.event_dim
    others = shape[: len(shape) - rank] if rank else shape
    return _placed(f, node, others, rank, rank - extra), own


def _longer(dim: Dim, by: int) -> Dim:
    from vispec.model import dims

    return dims.add(dim, by) if by else dim


def _placed(f: Frame, node: Node, shape: tuple[Dim, ...], now: int, wanted: int) -> Node:
    """Dimensions that stand left of `now` others, where the value has them left of `wanted`."""
    if now == wanted:
        return node
    places = [(dim, len(shape) - 1 - at) for at, dim in enumerate(shape)]
    return build.rename(node, {f.event(dim, now + place): f.event(dim, wanted + place) for dim, place in places})


# ---- densities


def log_prob(f: Frame, found: Law, value: Node, type_: Type) -> Node:
    """log p(value) in nats, summed over the event dimensions."""
    match found:
        case DrawLaw():
            return _draw(f, found, value, type_)
        case ChoiceLaw(test, then, otherwise):
            return build.where(test, log_prob(f, then, value, type_), log_prob(f, otherwise, value, type_))
        case ThenLaw(axis, laws):
            return by_position(axis, [log_prob(f, each, value, type_) for each in laws])
        case FlowLaw():
            raise TypeError("the density of a flow is known at its own draws alone")
        case StateLaw():
            raise TypeError("a state has no density")


def by_position(axis: Axis, parts: list[Node]) -> Node:
    """Part i at element i along an axis, the last one at all that follow; where a part is not taken, nothing is infinite
    because there is nothing before it."""
    parts = [from_element(part, axis, step) for step, part in enumerate(parts)]
    result = parts[-1]
    for step in range(len(parts) - 2, -1, -1):
        result = build.where(build.eq(build.position(axis), step), parts[step], result)
    return result


def _draw(f: Frame, found: DrawLaw, value: Node, type_: Type) -> Node:
    entry, shape = distributions()[found.distribution], f.shape(type_)
    if entry.optional and not found.params:
        log_p = build.spread(build.neg(build.log(number_of_values(f, type_))), ())
        return build.reduce("sum", build.spread(log_p, shape), shape)
    if entry.program is not None:
        own = {name: axes for name, _, axes in found.params}
        log_p = entry.program(value, own, **{name: node for name, node, _ in found.params})
        return build.reduce("sum", log_p, shape)
    events = shape[len(shape) - entry.event_dim :] if entry.event_dim else ()
    params = tuple(part for name, node, own in found.params for part in taken(entry, name, node, own))
    log_p = Density(entry.name, build.apply("real", value), params, events)
    return build.reduce("sum", log_p, shape[: len(shape) - entry.event_dim])


def number_of_values(f: Frame, type_: Type) -> Node:
    """How many values a finite type has."""
    if type_.domain == "index" and type_.plate is not None:
        return build.count(f.plate(type_.plate))
    if type_.domain == "bit":
        return Const(2)
    assert type_.card is not None
    size = f.event(type_.card, 0).size
    assert size is not None
    return build.number(size)


def taken(entry: Distribution, name: str, node: Node, own: tuple[Axis, ...]) -> list[tuple[str, Node, tuple[Axis, ...]]]:
    """A parameter in the form in which the distribution's kernel takes it, which may be of two tensors."""
    form = entry.forms.get(name, "value") if entry.kernel is not None else "value"
    found = FORMS[form](build.apply("real", node))
    return [(name, wide(each) if name in entry.wide else each, own) for each in found]


FORMS: dict[str, Callable[[Node], list[Node]]] = {
    "value": lambda x: [x],
    "log": lambda x: [build.log(x)],
    "logs": lambda x: [build.log(x), build.log_one_minus(x)],
    "logit": lambda x: [build.log_odds(x)],
}
