"""Ancestral generation: every variable after those that its law reads; observed ones by a rule, latent ones drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from vispec.catalog import distributions
from vispec.factors.frame import Frame, dtype_of, element_plates
from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, StateLaw, ThenLaw
from vispec.factors.make import Factors, factorise
from vispec.factors.structured import is_structure
from vispec.lower.structured import decided_labels, decided_structure, grown
from vispec.model.model import Model, Variable
from vispec.model.walk import is_read
from vispec.plan.held.along import Body, Member, along, changed, lags_of, parts
from vispec.plan.held.draws import draw_law, same, site_of, uniform
from vispec.plan.held.sink import below, sink
from vispec.plan.held.states import opened
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.node import Call, Const, Decide, Input, Node, Part, Scan, Shift, Site
from vispec.program.program import Program
from vispec.program.walk import nodes


@dataclass(frozen=True)
class Generated:
    """program: a value for each variable, the lengths of ragged plates and what is observed, by their keys of a batch. rows:
    the axis of the rows, whose number a call says. asked: the plates whose lengths it says. orders: the axes of each."""

    program: Program
    rows: Axis
    asked: Mapping[str, Axis]
    orders: Mapping[str, tuple[Axis, ...]]


def generate(model: Model, shared: Mapping[str, tuple[Axis, ...]]) -> Generated:
    """shared: latent → its axes, of those that all rows share."""
    told = frozenset(p.name for p in model.plates if p.ragged and not given_in(model, p.name))
    f = factorise(model, Frame(model, told=told, generated=True))
    g = Generator(f)
    for name, order in shared.items():
        g.share(model.variable[name], order)
    for name in model.order:
        if name in model.variable and name not in g.values and name not in shared:
            g.add(model.variable[name])
    return g.finish(told)


def given_in(model: Model, plate: str) -> bool:
    return any(plate in element_plates(v) for v in model.variables if v.role == "given")


@dataclass
class Generator:
    """values: of each variable so far; held: site → its value."""

    f: Factors

    def __post_init__(self) -> None:
        self.values: dict[str, Node] = {}
        self.held: dict[Node, Node] = {}

    @property
    def frame(self) -> Frame:
        return self.f.frame

    def share(self, variable: Variable, order: tuple[Axis, ...]) -> None:
        """What all rows share: the first of several draws."""
        frame = self.frame
        own = (*map(frame.plate, variable.plates), *frame.shape(variable.type))
        samples = order[: len(order) - len(own)]
        value = build.pick(Input(variable.name, (*samples, *own), "real", "shared"), dict.fromkeys(samples, Const(0)))
        self.keep(variable, value)

    def keep(self, variable: Variable, value: Node) -> None:
        self.values[variable.name] = self.held[site_of(self.frame, variable)] = self.frame.named(value, variable.name)

    def keep_parse(self, variable: Variable) -> None:
        """Of a parse that is observed all that data tell; what reads it, and of a latent all, is an element's own label."""
        told = self.values[variable.name]
        own = self.frame.named(build.pick(told, {self.frame.as_told(variable).order[-1]: 0}), variable.name)
        self.held[site_of(self.frame, variable)] = own
        if variable.role == "latent":
            self.values[variable.name] = own

    def add(self, variable: Variable) -> None:
        """A variable, with all those that need each other's past elements."""
        if variable.role == "given":
            self.values[variable.name] = self.frame.data(variable)
            return
        group = self.together(variable)
        if is_structure(variable):
            self.keep(variable, decided_structure(self.frame, variable, self.law(variable), self.read_again(variable)))
            if variable.type.stored:
                self.keep_parse(variable)
        elif variable.type.along is not None:
            self.keep(variable, decided_labels(self.frame, variable, self.law(variable), self.read_again(variable)))
        elif (tree := self.tree_of(group)) is not None:
            self.grow(tree, group)
        elif len(group) > 1 or self.reads_itself(variable) or isinstance(self.law(variable), ThenLaw):
            self.draw_along(group)
        else:
            law, order = self.law(variable), self.order(variable)
            self.keep(variable, self.value(variable, law, order))

    def law(self, variable: Variable) -> Law:
        return changed(self.f.factors[variable.name].law, self.held)

    def order(self, variable: Variable) -> tuple[Axis, ...]:
        return (*map(self.frame.plate, variable.plates), *self.frame.shape(variable.type))

    def read_again(self, variable: Variable) -> bool:
        return is_read(self.f.model, variable.name)

    def value(self, variable: Variable, law: Law, order: tuple[Axis, ...], now: Callable[[Node], Node] = same) -> Node:
        """A latent's draw; what is observed by the rule. now: as of draw_law."""
        frame, shape = self.frame, self.frame.shape(variable.type)
        match law:
            case ChoiceLaw(test, then, otherwise):
                one, other = (self.value(variable, each, order, now) for each in (then, otherwise))
                given = ((test, (), ""), (one, shape, ""), (other, shape, ""))
                if variable.role == "latent":
                    return build.where(test, one, other)
                rank = ("rank", len(order) - len(shape))
                call = Call("kernel", "vispec.kernels.told.decide:choose", given, ((shape, dtype_of(variable.type)),), (rank,))
                return Part(call, 0)
            case DrawLaw(name, params):
                entry = distributions()[name]
                smooth = variable.role == "latent" and (entry.path is not None or entry.carry is not None)
                if variable.role == "latent" or (entry.torch_class is None and not entry.optional):
                    return draw_law(frame, law, variable, order, shape, smooth, now=now).value
                if entry.modifier is not None:
                    return draw_law(frame, law, variable, order, shape, False).value
                if entry.optional and not params:
                    name, params = uniform(frame, variable, now)
                    entry = distributions()[name]
                events = shape[len(shape) - entry.event_dim :]
                around = tuple(axis for axis in order if axis not in events)
                kind = dtype_of(variable.type)
                return Decide(variable.name, name, params, events, around, self.read_again(variable), kind)
        raise TypeError(f"{type(law).__name__} is drawn along its chain")

    # ---- what needs each other

    def reading(self, name: str) -> frozenset[str]:
        """The variables without a value that a law reads."""
        left = {v.name for v in self.f.model.variables if v.name not in self.values and v.law is not None}
        roots = parts(self.f.factors[name].law)
        found = below(roots, left)
        return frozenset(site.name for root in roots for site in found[root])

    def reads_itself(self, variable: Variable) -> bool:
        return variable.name in self.reading(variable.name)

    def together(self, variable: Variable) -> list[Variable]:
        """The variable and those that it needs and that need it, in the order of the model."""
        edges = {
            v.name: self.reading(v.name) for v in self.f.model.variables if v.law is not None and v.name not in self.values
        }

        def behind(name: str) -> set[str]:
            found, left = set[str](), list(edges[name])
            while left:
                if (each := left.pop()) not in found:
                    found.add(each)
                    left += edges.get(each, ())
            return found

        mine = behind(variable.name)
        names = {variable.name} | {name for name in mine if variable.name in behind(name)}
        return [self.f.model.variable[name] for name in self.f.model.order if name in names]

    def axis_of(self, group: Sequence[Variable]) -> Axis:
        """The chain along which the members are drawn: that of their laws by position, or of what they read of each other."""
        names = [variable.name for variable in group]
        for variable in group:
            law = self.f.factors[variable.name].law
            if isinstance(law, ThenLaw):
                return law.axis
            for root in parts(law):
                for node in nodes([root]):
                    match node:
                        case Shift(arg, axis) | Scan(_, arg, axis) if below([arg], names)[arg]:
                            return axis
                        case Call(_, _, given):
                            for each, own, _ in given:
                                if own and below([each], names)[each] and own[0].kind == "plate":
                                    return own[0].origin  # of two axes of a plate, the plate
        raise TypeError(f"{', '.join(names)} read each other along no chain")

    def draw_along(self, group: Sequence[Variable]) -> None:
        """One loop along a chain for all its members."""
        frame, chain = self.frame, self.axis_of(group)
        beside = opened({v.name: self.f.factors[v.name].law for v in group}, frame.states)
        sites = {v.name: site_of(frame, v) for v in group} | {name: site for name, (site, _) in beside.states.items()}
        found_laws = {**beside.laws, **{name: law for name, (_, law) in beside.states.items()}}
        names = sorted(sites, key=self.f.model.order.index)
        laws = [sunk(changed(found_laws[name], self.held), names) for name in names]
        members = [Member(sites[name], law, lags_of(laws, sites[name])) for name, law in zip(names, laws, strict=True)]
        plates = {axis for v in group for axis in map(frame.plate, v.plates)}
        around = ordered(plates - {chain})

        def step(site: Site, law: Law, order: tuple[Axis, ...], body: Body) -> tuple[Node, tuple[Node, ...]]:
            if isinstance(law, StateLaw):
                return law.value, ()
            variable = self.f.model.variable[site.name]
            own = tuple(axis for axis in map(frame.plate, variable.plates) if axis is not chain)
            return self.value(variable, law, (*own, *frame.shape(variable.type)), body.at), ()

        found = along(f"along {chain.hint} of {', '.join(names)}", chain, members, around, step, frame.hints)
        for variable in group:
            self.keep(variable, found[variable.name][0])
        self.held |= {part: self.frame.named(found[site.name][0], site.name) for part, site in beside.closed.items()}

    # ---- trees

    def tree_of(self, group: Sequence[Variable]) -> Variable | None:
        """The tree through whose heads the members read each other."""
        trees = [v for v in self.f.model.variables if is_structure(v) and v.name in self.values]
        names = [variable.name for variable in group]
        if not any(self.reads_itself(v) for v in group) and len(group) == 1:
            return None
        for tree in trees:
            plate = self.frame.plate(str(tree.type.plate))
            value = self.values[tree.name]
            for variable in group:
                for root in parts(self.law(variable)):
                    if (
                        below([root], names)[root]
                        and value in {*nodes([root])}
                        and plate in {*map(self.frame.plate, variable.plates)}
                    ):
                        return tree
        return None

    def grow(self, tree: Variable, group: Sequence[Variable]) -> None:
        """Level by level: the elements of a level are drawn given those above, all others stay."""
        sites = [site_of(self.frame, variable) for variable in group]
        laws = [self.law(variable) for variable in group]
        draw = lambda site, law: self.value(self.f.model.variable[site.name], law, self.order(self.f.model.variable[site.name]))  # noqa: E731
        found = grown(self.frame, tree, self.values[tree.name], sites, laws, draw)
        for variable, value in zip(group, found, strict=True):
            self.keep(variable, value)

    # ---- what is returned

    def finish(self, told: frozenset[str]) -> Generated:
        model, frame = self.f.model, self.frame
        outputs, orders = dict[str, Node](), dict[str, tuple[Axis, ...]]()
        for name, value in self.values.items():
            variable = model.variable[name]
            shape = variable.type.stored if variable.role != "latent" else variable.type.shape
            orders[name] = (*map(frame.plate, element_plates(variable)), *frame.axes(shape))
            ends = value if variable.role == "given" else up_to_the_ends(value, orders[name], variable.role == "latent")
            outputs[name] = value if ends is value else frame.named(ends, f"{name}_padded")
        for plate in model.plates:
            lengths = frame.plate(plate.name).lengths
            if plate.ragged and isinstance(lengths, Input):
                outputs[plate.length_key], orders[plate.length_key] = lengths, lengths.order
        for variable in model.variables:
            if variable.role == "partial":
                axes = tuple(map(frame.plate, element_plates(variable)))
                outputs[f"{variable.name}_observed"] = build.spread(build.node(True), axes)
                orders[f"{variable.name}_observed"] = axes
        rows = next(frame.plate(plate.name) for plate in model.plates if plate.data)
        asked = {plate.name: frame.plate(plate.name) for plate in model.plates if plate.name in told}
        return Generated(Program(outputs, frame.hints, frame.spans), rows, asked, orders)


def up_to_the_ends(value: Node, order: tuple[Axis, ...], drawn: bool) -> Node:
    """A value with 0 past the ends of rows, as data are padded; where it is not drawn, probabilities may stand behind its
    axes, by the rule "mean"."""
    inside = build.both(*(build.inside(axis) for axis in order if axis.kind == "plate"))
    if isinstance(inside, Const):
        return value
    if drawn:
        return build.where(inside, value, False if value.dtype == "bool" else 0)
    shape = tuple(axis for axis in order if axis.kind == "event")
    given = ((value, shape, ""), (inside, (), ""))
    found = Call("kernel", "vispec.kernels.rows:up_to_the_ends", given, ((shape, value.dtype),), ())
    return Part(found, 0)


def sunk(law: Law, names: Sequence[str]) -> Law:
    """A law whose reads of other elements are of the members themselves."""
    match law:
        case DrawLaw(_, params):
            new = sink([node for _, node, _ in params], names)
            return replace(law, params=tuple((n, node, own) for node, (n, _, own) in zip(new, params, strict=True)))
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(sink([test], names)[0], sunk(then, names), sunk(otherwise, names))
        case ThenLaw(axis, laws):
            return ThenLaw(axis, tuple(sunk(each, names) for each in laws))
        case StateLaw(value):
            return StateLaw(sink([value], names)[0])
    raise TypeError(f"{type(law).__name__} has layers of its own")
