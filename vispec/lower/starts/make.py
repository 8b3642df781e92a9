"""Which parameters start at what a batch shows of their laws, as one program of their new values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vispec.catalog import Distribution, distributions, networks
from vispec.factors.frame import linked
from vispec.factors.make import Factors
from vispec.lower.starts.places import Branch, Place, Places, Stored, Tests, branches, follows, latents_in, sites_read
from vispec.lower.starts.stand_ins import NUMBERS, clusters, clusters_of_elements, evidence_of, guess, plates_of, values_of
from vispec.model.model import Param, Variable
from vispec.model.types import Type
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Input, Map, Node, Part, Pick, Site
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.program.walk import substitute

INVERSE: Mapping[str, Callable[[Node], Node]] = {
    "exp": build.log,
    "sigmoid": lambda x: build.sub(build.log(x), build.log_one_minus(x)),
}
"""From a law's parameter to what is inside a function around one of the model's."""


@dataclass(frozen=True)
class Target:
    """What starts: a parameter, or the bias of a net's head. value, bias: names of outputs.

    apart: whether noise is added to what is stored, so that what nothing tells apart starts apart."""

    value: str
    param: Param | None = None
    bias: str = ""
    apart: bool = False


@dataclass(frozen=True)
class Starts:
    """program: what stands in for latents, the biases of heads, and the new value of each target, over `orders`.

    scales: whether layers of nets learn the scales of what they read."""

    program: Program
    targets: tuple[Target, ...]
    orders: Mapping[str, tuple[Axis, ...]]
    clustered: bool
    guessed: bool
    scales: bool


@dataclass(frozen=True)
class Start:
    """A law of some elements of a variable, with the places in it that share their groups and tests."""

    variable: Variable
    branch: Branch
    places: tuple[Place, ...]

    @property
    def tests(self) -> Tests:
        return (*self.branch.tests, *self.places[0].tests)

    @property
    def by(self) -> tuple[tuple[Axis, Node], ...]:
        return self.places[0].by


class Maker:
    """stand_ins: site → what stands in for it. done: the names of what starts already."""

    def __init__(self, f: Factors):
        self.f, self.model, self.frame = f, f.model, f.frame
        self.places = Places(f)
        self.done = set[object]()
        self.stand_ins: dict[Node, Node] = {}
        self.guessed = set[str]()
        self.outputs: dict[str, Node] = {}
        self.orders: dict[str, tuple[Axis, ...]] = {}
        self.targets: list[Target] = []

    def make(self) -> Starts | None:
        """None where nothing can start at what a batch shows."""
        model = self.model
        seen = [v for v in model.variables if v.role in ("observed", "partial") and v.name in self.f.factors]
        found = [start for v in seen for start in self.starts(v)]
        wanted = {name for start in found for node in self.evaluated(start) for name in latents_in(model, node)}
        names = [name for name in model.order if name in wanted]
        for name in names:
            self.stand_in(model.variable[name], found)
        for name in (name for name in names if name not in self.guessed):
            more = self.starts(model.variable[name])
            found += [start for start in more if all(latents_in(model, e) <= wanted for e in self.evaluated(start))]
        for start in found:
            self.add(start)
        scales = any(networks()[stage.layer].learns for net in model.nets for stage in net.trunk)
        if not found and not scales:
            return None
        program = Program(self.outputs, self.frame.hints)
        clustered = bool(wanted - self.guessed)
        return Starts(program, tuple(self.targets), self.orders, clustered, bool(self.guessed), scales)

    def stand_in(self, latent: Variable, found: Sequence[Start]) -> None:
        """Clusters of the evidence, else a guess; a partial variable that no evidence tells is read where it is there."""
        name, frame = latent.name, self.frame
        reading = [s.variable for s in found if any(name in latents_in(self.model, node) for node in self.evaluated(s))]
        showing = evidence_of(frame, latent, list(dict.fromkeys(reading)))
        if not showing and latent.role == "partial":
            self.stand_ins[frame.site(latent)] = frame.data(latent)
            return
        node = clusters(frame, latent, showing) if showing else guess(frame, latent)
        self.stand_ins[frame.site(latent)] = frame.named(node, name)
        self.outputs[f"stand-in {name}"] = node
        if not showing:
            self.guessed.add(name)

    # ---- what can start

    def starts(self, variable: Variable) -> list[Start]:
        """The places in a variable's law that nothing else starts, grouped."""
        if variable.name not in self.f.factors or variable.type.whole_of is not None:  # of all stretches, few are there
            return []
        law, found = self.f.factors[variable.name].law, list[Start]()
        for branch in sorted(branches(law), key=lambda branch: branch.step is not None):  # first the law of most elements
            entry = distributions()[branch.law.distribution]
            if entry.start is None or not all(follows(self.model, test) for test, _ in branch.tests):
                continue
            if (entry.event_dim and entry.event_dim != len(variable.type.shape)) or not self.all_told(variable, branch, entry):
                continue
            grouped: dict[object, list[Place]] = {}
            for name, node, _ in branch.law.params:
                for place in self.places.of(name, node, entry.params[name]):
                    if place.stored.name not in self.done and self.reachable(variable, entry, place):
                        self.done.add(place.stored.name)
                        grouped.setdefault((keys(place), place.tests), []).append(place)
            found += [Start(variable, branch, tuple(group)) for group in merged(list(grouped.values()))]
        return found

    def all_told(self, variable: Variable, branch: Branch, entry: Distribution) -> bool:
        """Whether what the start reads beside the elements is data."""
        known = [node for name, node, _ in branch.law.params if name in reads_of(entry)]
        sized = "size" not in reads_of(entry) or values_of(self.frame, variable) is not None
        return sized and all(follows(self.model, node) and not latents_in(self.model, node) for node in known)

    def reachable(self, variable: Variable, entry: Distribution, place: Place) -> bool:
        """Whether each element's group can be told, and the law's params have at least the dimensions of the place's."""
        tests, by = [test for test, _ in place.tests], [index for _, index in place.by]
        told = [*tests, *(index for index in by if index in tests or not self.clustered_here(variable, index))]
        if not all(follows(self.model, node) for node in told):
            return False
        events = self.frame.shape(variable.type)
        if place.stored.param is None:
            return place.events == events
        if not all(index.axes <= {*plates_of(self.frame, variable)} for index in by):
            return False
        rank = len(events) - entry.event_dim + entry.param_event_dim.get(place.name, entry.event_dim)
        return len(place.events) <= rank

    def clustered_here(self, variable: Variable, index: Node) -> bool:
        """Whether groups are clusters of the variable's own elements: where an index reads latents, and is not just one."""
        composed = bool(latents_in(self.model, index)) and not is_site(index)
        return composed and (variable.type.domain in NUMBERS or bool(variable.type.shape))

    def evaluated(self, start: Start) -> tuple[Node, ...]:
        """What says which element belongs where, but for what the elements themselves are clustered for."""
        by = [index for _, index in start.by if not self.clustered_here(start.variable, index)]
        return (*by, *(test for test, _ in start.tests))

    # ---- their values

    def add(self, start: Start) -> None:
        """The new values of what one law reads. Those of guessed latents start apart."""
        variable, frame = start.variable, self.frame
        entry = distributions()[start.branch.law.distribution]
        plates, events = plates_of(frame, variable), frame.shape(variable.type)
        value, inside = self.value(variable), self.inside(start)
        given = [(value, (*plates, *events), "value")]
        for axis, index in start.by:
            clustered = self.clustered_here(variable, index)
            found = clusters_of_elements(frame, variable, value, build.extent(axis), inside) if clustered else self.known(index)
            given.append((found, ordered_as(plates, found), "at"))
        wanted = {place.name: place for place in start.places}
        for name in (name for name in entry.params if name in wanted):
            order, now = self.now(start, wanted[name])
            given.append((now, order, f"now {name}"))
        given += [self.told(start, name) for name in reads_of(entry)]
        given += [] if inside is None else [(inside, plates, "inside")]
        latent = [(test, truth) for test, truth in start.tests if latents_in(self.model, test)]
        given += [(build.both(*map(self.holds, latent)), plates, "among")] if latent else []
        orders = [order for _, order, kind in given if kind.startswith("now ")]
        settings = (("plates", len(plates)),)
        call = Call("by_group", entry.name, tuple(given), tuple((order, "real") for order in orders), settings)
        names = [name for name in entry.params if name in wanted]
        guessed = any(latents_in(self.model, index) & self.guessed for _, index in start.by)
        for at, name in enumerate(names):
            self.assign(start, wanted[name], Part(call, at), guessed)

    def assign(self, start: Start, place: Place, found: Node, guessed: bool) -> None:
        """A target with the value that a place's law has."""
        order = self.axes_of(start, place)
        missing = [axis for axis in order if axis not in place.stored.order]
        if missing:
            found = build.mean(found, missing)
        if place.link:
            found = INVERSE[place.link](found)
        param = place.stored.param
        if param is None:
            bias = self.bias(place.stored)
            found = self.frame.named(found, place.name)
            if place.stored.domain == "positive":
                inverse = "vispec.kernels.constraints:softplus_inverse"
                given = ((found, place.events, ""),)
                found = Part(Call("kernel", inverse, given, ((place.events, "real"),), ()), 0)
            name = f"bias {len(self.outputs)}"
            self.outputs[name] = bias
            target = Target(f"value {len(self.outputs)}", None, name)
        else:
            found = self.frame.named(found, param.name)
            apart = guessed and param.type.domain in ("unit", "simplex")
            target = Target(f"value {len(self.outputs)}", param, "", apart)
        self.outputs[target.value] = found
        self.orders[target.value] = place.stored.order
        self.targets.append(target)

    def axes_of(self, start: Start, place: Place) -> tuple[Axis, ...]:
        """The groups of a law as a place has them, and the place's own axes."""
        own = {key: axis for key, (axis, _) in zip(keys(place), place.by, strict=True)}
        groups = [own.get(key, axis) for key, (axis, _) in zip(keys(start.places[0]), start.by, strict=True)]
        return (*groups, *place.events)

    def now(self, start: Start, place: Place) -> tuple[tuple[Axis, ...], Node]:
        """What a law's parameter is at present in each group."""
        order, stored = self.axes_of(start, place), place.stored
        if stored.param is None:
            node = linked(self.bias(stored), Type(stored.domain), order)  # type: ignore[arg-type]
        else:
            node = Input(stored.param.name, stored.order, "real", "property") if stored.functions else stored.node
        return order, build.spread(build.apply(place.link, node) if place.link else node, order)

    def bias(self, stored: Stored) -> Node:
        """The numbers of a head's bias, a view of all of its net's."""
        part = stored.node
        assert isinstance(part, Part)
        assert isinstance(part.source, Call)
        first, net = Size.of(0), self.model.net[part.source.name]
        for _, type_ in net.heads[: part.index]:
            first = first + product(self.frame.shape(type_))
        settings = (("first", build.number(first)), ("last", build.number(first + product(stored.order))))
        found = Part(Call("bias", net.name, (), ((stored.order, "real"),), settings), 0)
        return self.frame.named(found, "_".join(filter(None, (net.name, net.heads[part.index][0], "bias"))))

    def told(self, start: Start, name: str) -> tuple[Node, tuple[Axis, ...], str]:
        """What a law's start reads beside the elements: one for all, or one for each."""
        params = {each: node for each, node, _ in start.branch.law.params}
        if name not in params:
            count = values_of(self.frame, start.variable)
            assert count is not None
            return count, (), "size"
        node, plates = self.known(params[name]), plates_of(self.frame, start.variable)
        if not node.axes:
            return build.apply("real", node), (), "told"
        order = (*plates, *(axis for axis in self.frame.shape(start.variable.type) if axis in node.axes))
        return build.spread(build.apply("real", node), order), order, "told"

    def known(self, node: Node) -> Node:
        """A node with what stands in for latents."""
        return substitute([node], self.stand_ins)[0]

    def value(self, variable: Variable) -> Node:
        if variable.role == "observed":
            return self.frame.data(variable)
        site = self.frame.site(variable)
        return self.stand_ins.get(site, self.frame.data(variable))

    def holds(self, test: tuple[Node, bool]) -> Node:
        node = build.apply("bool", self.known(test[0]))
        return node if test[1] else build.apply("not", node)

    def seen(self, reading: Node) -> list[Node]:
        """Whether the data have what is read, an element of a variable; nothing where they always do or something stands in."""
        site, at = (reading.table, reading.at) if isinstance(reading, Pick) else (reading, ())
        variable = self.model.variable.get(site.name) if isinstance(site, Site) else None
        if variable is None or variable.role != "partial" or f"stand-in {variable.name}" in self.outputs:
            return []
        observed = self.frame.observed(variable)
        return [build.pick(observed, {axis: self.known(index) for axis, index in at if axis in observed.axes})]

    def inside(self, start: Start) -> Node | None:
        """Which elements count; None where all do."""
        variable, frame, branch = start.variable, self.frame, start.branch
        plates = plates_of(frame, variable)
        masks = [build.inside(axis) for axis in plates if axis.lengths is not None]
        for reading in dict.fromkeys((frame.site(variable), *sites_read(self.evaluated(start)))):
            masks += self.seen(reading)
        masks += [self.holds((test, truth)) for test, truth in start.tests if not latents_in(self.model, test)]
        if branch.chain is not None and branch.step is not None:
            masks.append(build.eq(build.position(branch.chain), branch.step))
        elif branch.chain is not None and branch.since:
            masks.append(build.apply("le", branch.since, build.position(branch.chain)))
        return build.spread(build.both(*masks), plates) if masks else None


def make_starts(f: Factors) -> Starts | None:
    return Maker(f).make()


def keys(place: Place) -> tuple[object, ...]:
    """What tells the dimensions of a place's groups: the plate, or none for a row of a vector, and the index."""
    return tuple((None if axis.kind == "event" else axis, index) for axis, index in place.by)


def merged(groups: list[list[Place]]) -> list[list[Place]]:
    """Places with some of the dimensions of another's groups join that one: a common scale is that inside the groups."""
    found: list[list[Place]] = []
    for group in sorted(groups, key=lambda group: -len(group[0].by)):
        wider = (other for other in found if is_part(group[0], other[0]))
        other = next(wider, None)
        if other is None:
            found.append(group)
        else:
            other += group
    return found


def is_part(place: Place, other: Place) -> bool:
    """Whether a place's groups are those of the other, without some of their dimensions."""
    if place.stored.param is None or other.stored.param is None or place.tests != other.tests:
        return False
    return [key for key in keys(other) if key in keys(place)] == [*keys(place)]


def is_site(index: Node) -> bool:
    """Whether an index is one variable's value."""
    inner = index.operands[0] if isinstance(index, Map) and index.op == "int" else index
    return isinstance(inner, Site)


def reads_of(entry: Distribution) -> list[str]:
    """What a law's start reads beside the elements."""
    return [] if entry.start is None else list(inspect.signature(entry.start).parameters)[1:]


def product(axes: Sequence[Axis]) -> Size:
    found = Size.of(1)
    for axis in axes:
        assert axis.size is not None
        found = found * axis.size
    return found


def ordered_as(plates: Sequence[Axis], node: Node) -> tuple[Axis, ...]:
    return tuple(axis for axis in plates if axis in node.axes)
