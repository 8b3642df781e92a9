"""How summed latents are held: each reading of one has an axis of values of its own, in place of the site.

A reading is of a latent's own element, of one a number of steps back, or of one that an index points at. A latent that is read
along a plate as a whole is held by its joint values there: one axis that numbers them, of which each element is a digit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from vispec.factors import structured
from vispec.factors.frame import Frame
from vispec.factors.structured import is_structure
from vispec.model.model import Variable
from vispec.plan.held.sink import below, sink
from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.node import Call, Carried, Concat, Contract, Density, Loop, Node, Pick, Reduce, Rename, Scan, Shift, Site
from vispec.program.walk import nodes, reads, substitute


@dataclass(frozen=True)
class Lag:
    """values: of the reading. of: those of the latent itself. axis, steps: how far back."""

    values: Axis
    of: Axis
    axis: Axis
    steps: int


@dataclass(frozen=True)
class Pointer:
    """values: of the reading. of: those of the latent. at: for each of its plates that an index fills, the index."""

    values: Axis
    of: Axis
    at: tuple[tuple[Axis, Node], ...]


@dataclass
class Held:
    """own: latent → the axis of its values, or of its joint values along `along` its plates. plates: where it has one each."""

    values: Mapping[str, Axis]
    along: Mapping[str, tuple[Axis, ...]]
    own: dict[str, Axis] = field(default_factory=dict)
    plates: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    lags: dict[tuple[str, Axis, int], Lag] = field(default_factory=dict)
    pointers: dict[tuple[str, tuple[tuple[Axis, Node], ...]], Pointer] = field(default_factory=dict)


def values_axis(frame: Frame, variable: Variable) -> Axis:
    """The axis of a finite variable's values."""
    type_ = variable.type
    if is_structure(variable):
        return copy(structured.state_of(frame, variable), variable.name, "values")
    if type_.domain == "index" and type_.plate is not None:
        plate = frame.plate(type_.plate)
        return Axis(variable.name, "values", plate.size, plate.lengths, plate)
    card = 2 if type_.domain == "bit" else type_.card
    assert card is not None
    return Axis(variable.name, "values", frame.event(card, 0).size)


def hold(
    roots: list[Node],
    sites: Mapping[str, Site],
    values: Mapping[str, Axis],
    hints: dict[Node, str],
    several: Mapping[int, Axis] = MappingProxyType({}),
) -> tuple[list[Node], Held]:
    """The roots with summed sites in the form of their values, and what reads which. values: latent → axis of one's values;
    hints: what the spec calls nodes. several: of roots by number, a plate of which each element's part counts several times."""
    roots = sink(roots, values)
    held = Held(values, joined(roots, sites, several))
    for name, site in sites.items():
        along = held.along[name]
        held.own[name] = joint(name, values[name], along) if along else values[name]
        held.plates[name] = tuple(axis for axis in site.order if axis not in along)
    new = dict[Node, Node]()
    for node in nodes(roots):
        if is_reading(node, values):
            (new[node],) = substitute([reading(node, held)], new)  # an index may be a reading itself
    return substitute(roots, new, hints), held


def is_reading(node: Node, names: Collection[str]) -> bool:
    """Whether a node is a site, or another element of one."""
    match node:
        case Site(name):
            return name in names
        case Shift(Site(name)) | Pick(Site(name)):
            return name in names
    return False


# ---- what is read as a whole


def joined(roots: list[Node], sites: Mapping[str, Site], several: Mapping[int, Axis]) -> dict[str, tuple[Axis, ...]]:
    """For each latent the plates along which something reads it as a whole, at several indices together, or at an index that is
    summed itself; or by a root of which an element of a plate counts `several` times.

    alive: of each node the axes along which it has readings, with the site and its axis on which they are then joined."""
    found: dict[str, set[Axis]] = {name: set() for name in sites}
    holds = below(roots, sites)
    alive = dict[Node, frozenset[tuple[Axis, Site, Axis]]]()
    for node in nodes(roots):
        if isinstance(node, Site) and node.name in sites:
            alive[node] = frozenset((axis, node, axis) for axis in node.order)
            continue
        match node:
            case Shift(Site(name) as site) if name in sites:
                alive[node] = alive[site]
                continue
            case Pick(Site(name) as site, at) if name in sites:
                for axis, index in at:
                    if holds[index] or reads(index, Carried):  # each step of a loop reads another
                        found[name].add(axis)
                own = {(axis, site, axis) for axis in site.order if axis not in dict(at)}
                alive[node] = frozenset(own | {(along, site, axis) for axis, index in at for along in index.axes})
                continue
        inner = frozenset[tuple[Axis, Site, Axis]]().union(*(alive[arg] for arg in node.args))
        used = consumed(node)
        for along, site, axis in inner:
            if along in used:
                found[site.name].add(axis)
        alive[node] = frozenset(each for each in inner if each[0] not in used)
    for at, plate in several.items():
        for axis, site, own in alive[roots[at]]:
            if axis is plate:
                found[site.name].add(own)
    return {name: tuple(axis for axis in sites[name].order if axis in axes) for name, axes in found.items()}


def consumed(node: Node) -> frozenset[Axis]:
    """The axes of its arguments along which a node does not go element by element."""
    match node:
        case Loop(_, axis):
            return frozenset({axis})
        case Reduce(_, _, over) | Contract(_, over):
            return frozenset(over)
        case Scan(_, _, axis) | Shift(_, axis):
            return frozenset({axis})
        case Pick(_, at):
            return frozenset(axis for axis, _ in at)
        case Rename(_, pairs):
            return frozenset(axis for axis, _ in pairs)
        case Concat(parts):
            return frozenset(axis for _, axis in parts if axis is not None)
        case Call(_, _, given):
            return frozenset(axis for _, own, _ in given for axis in own)
        case Density(_, _, params, events):
            return frozenset(events).union(*(own for _, _, own in params))
    return frozenset(getattr(node, "over", ()))


def joint(name: str, values: Axis, along: tuple[Axis, ...]) -> Axis:
    """The axis that numbers the joint values of a latent along plates; of a ragged one, those of the elements that count."""
    (plate, *others) = along
    lengths = None if plate.lengths is None or others else build.apply("int_pow", build.extent(values), plate.lengths)
    return Axis(f"{name}[{', '.join(axis.hint for axis in along)}]", "joint", None, lengths, None, (values, *along))


def digit(number: Axis, values: Axis, along: Iterable[Axis]) -> Node:
    """The value at each element of the plates, over them and the axis that numbers joint values: a digit of the number."""
    place = None
    for axis in along:
        here = build.position(axis)
        place = here if place is None else build.add(build.mul(place, build.extent(axis)), here)
    assert place is not None
    base = build.extent(values)
    return build.apply("mod", build.apply("floor_div", build.position(number), build.apply("int_pow", base, place)), base)


# ---- readings


def reading(node: Node, held: Held) -> Node:
    """The values of a reading: an axis of their own, and along plates that are read as a whole a digit of their number."""
    match node:
        case Shift(Site(name) as site, axis, lag, fill):
            if axis in held.along[name]:
                return build.shift(values_of(site, held.own[name], held), axis, lag, fill)
            key = (name, axis, lag)
            if key not in held.lags:
                hint = held.own[name].hint + "'" * lag
                held.lags[key] = Lag(copy(held.own[name], hint), held.own[name], axis, lag)
            return values_of(site, held.lags[key].values, held)
        case Pick(Site(name) as site, at):
            inner = {axis: index for axis, index in at if axis in held.along[name]}
            outer = tuple((axis, index) for axis, index in at if axis not in inner)
            own = held.own[name]
            if outer:
                key = (name, outer)
                if key not in held.pointers:
                    hint = f"{own.hint}[{', '.join(axis.hint for axis, _ in outer)}]"
                    held.pointers[key] = Pointer(copy(own, hint), own, outer)
                own = held.pointers[key].values
            return build.pick(values_of(site, own, held), inner)
        case Site(name):
            return values_of(node, held.own[name], held)
    raise TypeError(f"{type(node).__name__} is no reading")


def values_of(site: Site, own: Axis, held: Held) -> Node:
    """A site's values along an axis, in its dtype."""
    along = held.along[site.name]
    found = digit(own, held.values[site.name], along) if along else build.position(own)
    return found if site.kind == "int" else build.apply("real", found)
