"""Deterministic state along a chain, as a loop: each element's value from those before it, and from what stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from vispec.factors.frame import Frame, dtype_of
from vispec.model import model as m
from vispec.model.walk import walk
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Carried, Const, Loop, Node, Part, Shift, Site
from vispec.program.walk import nodes, reads, with_fields

Compile = Callable[[Frame, m.Expression], Node]


@dataclass(frozen=True)
class State:
    """A state before it is decided where its loop runs: what its own element is called, and the values of the first elements
    and of all that follow, which read the sites of states at elements before."""

    site: Site
    values: tuple[Node, ...]


def state(f: Frame, e: m.Recursion, compiled: Compile) -> Node:
    """The value of a state at its own element: an output of a loop with all states that it needs and that need it."""
    lets = {let.name: let for let in f.model.lets}
    group = [let for let in f.model.lets if let.name in together(e.state, f.model)]
    group = sorted(group, key=lambda let: f.model.order.index(let.name))
    sites = {let.name: site_of(f, let) for let in group}
    inner = replace(f, known={(m.Recursion, let.value): sites[let.name] for let in group})
    axis = f.plate(e.along)
    values = {name: tuple(compiled(inner, step) for step in steps_of(lets[name])) for name in sites}
    states = [State(sites[name], found) for name, found in values.items()]
    loop, places = looped(f"states {', '.join(sites)}", axis, states)
    for each, (name, at) in zip(states, places.items(), strict=True):
        found = Part(loop, at)
        f.states[found] = each
        f.known[(m.Recursion, lets[name].value)] = found
        f.named(found, name)
    return f.known[(m.Recursion, lets[e.state].value)]


def site_of(f: Frame, let: m.Let) -> Site:
    return Site(let.name, (*map(f.plate, let.plates), *f.shape(let.type)), dtype_of(let.type))


def steps_of(let: m.Let) -> tuple[m.Expression, ...]:
    assert isinstance(let.value, m.Recursion)
    return let.value.steps


def together(name: str, model: m.Model) -> frozenset[str]:
    """The states that a state needs, be it through other lets, and that need it."""
    lets = model.let

    def behind(start: str) -> set[str]:
        found, pending = set[str](), [start]
        while pending:
            read = {getattr(part, "name", None) for part in walk(lets[pending.pop()].value)}
            new = {each for each in read if isinstance(each, str) and each in lets} - found
            found |= new
            pending += new
        return found

    own = behind(name)
    return frozenset({name, *(each for each in own if name in behind(each) and isinstance(lets[each].value, m.Recursion))})


def looped(name: str, axis: Axis, states: list[State]) -> tuple[Loop, dict[str, int]]:
    """The loop of some states, and which output each is. A value further back than one element is handed on."""
    sites = [each.site for each in states]
    shifts = [shift for each in states for value in each.values for shift in reads(value, Shift)]
    lags = {site: max([1, *(shift.lag for shift in shifts if shift.arg is site)]) for site in sites}
    places, slot = dict[tuple[Site, int], int](), 0
    for site in sites:
        for lag in range(1, lags[site] + 1):
            places[site, lag], slot = slot, slot + 1
    many = max(*(len(each.values) for each in states), *(lag + 1 for lag in lags.values()))
    bodies = list[tuple[Node, ...]]()
    for number in range(many):
        last = number == many - 1
        step = Step(name, axis, number, last, places)
        found = dict[int, Node]()
        for each in states:
            value = step.at(each.values[min(number, len(each.values) - 1)])
            step.known.clear()
            step.present[each.site] = found[places[each.site, 1]] = value
            for lag in range(2, lags[each.site] + 1):
                found[places[each.site, lag]] = step.before(each.site, lag - 1)
        bodies.append(tuple(found[at] for at in range(slot)))
    plates = {a for site in sites for a in site.order if a.kind != "event"} - {axis}
    loop = Loop(name, axis, tuple(bodies), tuple(sorted(plates, key=lambda a: a.serial)), ())
    return loop, {site.name: places[site, 1] for site in sites}


class Step:
    """The body of one step."""

    def __init__(self, loop: str, axis: Axis, number: int, last: bool, places: Mapping[tuple[Site, int], int]):
        self.loop, self.axis, self.number, self.last, self.places = loop, axis, number, last, places
        # there may be no second element, so that it is not read at a number
        self.now: Node = Carried(loop, "now", 0, (), "int") if number or last else Const(0)
        self.present, self.known = dict[Node, Node](), dict[Node, Node]()
        self.names = {site for site, _ in places}

    def at(self, node: Node) -> Node:
        """A node at the present element."""
        if node not in self.known:
            self.known[node] = self._at(node)
        return self.known[node]

    def _at(self, node: Node) -> Node:
        if node in self.present:
            return self.present[node]
        match node:
            case Shift(Site() as site, axis, lag) if site in self.names and axis is self.axis:
                return self.before(site, lag)
        if not self.names & {*nodes([node])}:
            return build.pick(node, {self.axis: self.now}) if self.axis in node.axes else node
        return with_fields(node, self.at)

    def before(self, site: Site, lag: int) -> Node:
        """A state so many elements back; where there is none anything, for it is not read."""
        if not self.last and lag > self.number:
            return Const({"real": 0.0, "int": 0, "bool": False}[site.kind])
        order = tuple(axis for axis in site.order if axis is not self.axis)
        return Carried(self.loop, "state", self.places[site, lag], order, site.kind)
