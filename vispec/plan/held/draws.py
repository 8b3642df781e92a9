"""Draws of latents, each as its estimator asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from vispec.catalog import distributions
from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.estimators.entry import Drawing, Way
from vispec.factors.expressions import expression
from vispec.factors.frame import Frame, dtype_of
from vispec.factors.laws import ChoiceLaw, DrawLaw, FlowLaw, Law, StateLaw, ThenLaw, number_of_values, taken
from vispec.factors.make import Factors
from vispec.model.model import JointGuide, Model, Select, Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.plan.estimate import drawn_together, read_through_head, source_of, way_of
from vispec.plan.guides import point_of
from vispec.plan.held.along import Body, Member, along, changed, lags_of
from vispec.plan.held.hold import values_axis
from vispec.plan.held.joint_guide import draw_jointly
from vispec.plan.held.kept import Kept
from vispec.plan.held.states import opened
from vispec.plan.treatment import Treatment
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.facts import count_or_one
from vispec.program.node import Call, Draw, Node, Noise, Part, Site
from vispec.program.walk import substitute

INTEGRATED = Way("integrated", smooth=True)


def no_order(read: Select) -> Diagnostic:
    """V724: which element of a tree comes before which differs from row to row."""
    message = f"`{read.name}` is drawn element by element here, along a tree, which is not compiled"
    help_ = f"give `{read.name}` a guide that reads the data alone, or finitely many values, which are summed"
    return Diagnostic("V724", message, Label(read.span, "read through a head by what it is drawn from"), help=help_)


def same(node: Node) -> Node:
    return node


@dataclass(frozen=True)
class Drawn:
    """value: over the samples, the variable's plates and what its law differs along. law: what it was drawn from, with its
    parameters as they were there. base, gain: where it was carried here, the Normal draw and log |∂ value / ∂ base|."""

    value: Node
    law: Law
    base: Node | None = None
    gain: Node | None = None


@dataclass
class Draws:
    """held: site → what holds it, the bases of carried draws too. samples: the axis of the samples, where there are several.
    weight: of each sample in the bound, where they differ. mixed: latent → the weights of its values, where these are drawn."""

    f: Factors
    treatments: Mapping[str, Treatment]
    samples: Axis | None
    one: frozenset[str] = frozenset()  # drawn once whatever the number of samples
    everything: tuple[str, ...] = ()  # all that is drawn, in order
    analytic: frozenset[str] = frozenset()  # which add a divergence in closed form
    mixed: Mapping[str, Site] = field(default_factory=dict)
    drawn: dict[str, Drawn] = field(default_factory=dict)
    held: dict[Node, Node] = field(default_factory=dict)
    weight: Node | None = None
    log_q_jointly: Node | None = None  # of what one guide draws together

    @property
    def model(self) -> Model:
        return self.f.model

    def way(self, name: str) -> Way:
        """How a draw passes a gradient. What is integrated is a smooth function of the noise that it is integrated over."""
        if self.treatments[name].kind == "integrate":
            return INTEGRATED
        estimator = self.treatments[name].estimator
        assert estimator is not None
        return way_of(self.model.variable[name], estimator)

    def settings(self, name: str) -> dict[str, object]:
        estimator = self.treatments[name].estimator
        return dict(estimator.settings) if estimator is not None else {}

    @property
    def rows(self) -> tuple[Axis, ...]:
        return tuple(self.f.frame.plate(plate.name) for plate in self.model.plates if plate.data)

    def draw_all(self, names: Iterable[str]) -> None:
        """Each after those that its law reads."""
        names = tuple(names)
        for name in names:
            group = drawn_together(name, self.everything or names, self.model)
            if name in self.drawn:
                continue
            if self.model.joint is not None and name in self.model.joint.names:
                self.draw_joint(self.model.joint)
            elif group:
                self.draw_group([self.model.variable[each] for each in group])
            else:
                self.keep(self.model.variable[name], self.draw(self.model.variable[name]))

    def draw_group(self, group: list[Variable]) -> None:
        """Variables that need each other's past elements, in one loop along their chain."""
        frame, model = self.f.frame, self.model
        if (read := read_through_head({variable.name for variable in group}, model)) is not None:
            raise SpecError(model.source, (no_order(read),))
        chain = frame.plate(next(p for p in reversed(group[0].plates) if model.plate[p].kind == "chain"))
        opening = opened({variable.name: self.source(variable.name) for variable in group}, frame.states)
        laws = {name: self.read(law) for name, law in opening.laws.items()}
        sites = {variable.name: site_of(frame, variable) for variable in group}
        for name, (site, law) in opening.states.items():
            sites[name], laws[name] = site, self.read(law)
        order = sorted(sites, key=model.order.index)
        members = [Member(sites[name], laws[name], lags_of([*laws.values()], sites[name])) for name in order]
        axes = {axis for v in group for axis in self.order(v, laws[v.name])}
        around = ordered(axis for axis in axes - {chain} if axis.kind != "event")
        kept = {v.name: Kept(laws[v.name], order) for v in group}

        def step(site: Site, law: Law, order: tuple[Axis, ...], body: Body) -> tuple[Node, tuple[Node, ...]]:
            if isinstance(law, StateLaw):
                return law.value, ()
            variable = model.variable[site.name]
            lead = tuple(axis for axis in order if axis.kind != "event")
            found = self.draw_from(law, variable, (*lead, *frame.shape(variable.type)), body.at)
            value = found.value
            if variable.role == "partial":
                value = build.where(body.at(frame.observed(variable)), body.at(frame.data(variable)), value)
            beside = kept[site.name].told(law)
            if found.base is not None and found.gain is not None and kept[site.name].carried:
                beside = (*beside, found.base, found.gain)
            return value, beside

        found = along(f"along {chain.hint} of {', '.join(v.name for v in group)}", chain, members, around, step, frame.hints)
        for part, site in opening.closed.items():
            self.held[part] = frame.named(found[site.name][0], site.name)
        for variable in group:
            site = sites[variable.name]
            value, *beside = found[site.name]
            keeping = kept[site.name]
            law = keeping.law(beside)
            for one in law.laws if isinstance(law, ThenLaw) else (law,):
                for parameter, node, _ in one.params if isinstance(one, DrawLaw) else ():
                    frame.named(node, f"{variable.name}_{parameter}")
            self.held[site] = frame.named(value, variable.name)
            self.drawn[variable.name] = Drawn(value, law, *beside[keeping.count :])

    def draw_joint(self, guide: JointGuide) -> None:
        """All latents of a guide over several at once."""
        lead = (self.samples,) if self.samples is not None and not self.one & {*guide.names} else ()
        values, self.log_q_jointly = draw_jointly(self.f.frame, guide, lead, self.held)
        for name, value in values.items():
            self.keep(self.model.variable[name], Drawn(value, self.f.factors[name].law))

    def keep(self, variable: Variable, found: Drawn) -> None:
        """Put a draw in the place of its site, and the data's own value where it has one."""
        frame = self.f.frame
        if variable.role == "partial":
            found = replace(found, value=build.where(frame.observed(variable), frame.data(variable), found.value))
        self.drawn[variable.name] = found
        site = self.mixed.get(variable.name) or frame.site(variable)
        self.held[site] = frame.named(found.value, variable.name)
        if found.base is not None:
            self.held[frame.base(variable)] = found.base

    def draw(self, variable: Variable) -> Drawn:
        """A point estimate, or a sample from the guide, or from the variable's own law where it has none."""
        way, law = self.way(variable.name), self.read(self.source(variable.name))
        if way.point:
            point = expression(self.f.frame, point_of(variable, self.model))
            return Drawn(substitute([point], self.held)[0], law)
        return self.draw_from(law, variable, self.order(variable, law))

    def draw_from(self, law: Law, variable: Variable, order: tuple[Axis, ...], now: Callable[[Node], Node] = same) -> Drawn:
        """A sample of a law along these axes, in the way that the estimator asks for. now: as of draw_law."""
        way, shape = self.way(variable.name), self.f.frame.shape(variable.type)
        if way.draw is None:
            return draw_law(self.f.frame, law, variable, order, shape, way.smooth, self.passed(variable.name), now)
        assert isinstance(law, DrawLaw)
        found = way.draw(self.drawing(variable, law, order))
        self.weight = self.weight if found.weight is None else found.weight
        return Drawn(found.value, law)

    def drawing(self, variable: Variable, law: DrawLaw, order: tuple[Axis, ...]) -> Drawing:
        """What a way that draws by itself is told."""
        values = values_axis(self.f.frame, variable) if variable.type.domain in FINITE_DOMAINS else None
        if variable.name in self.mixed:
            values = self.mixed[variable.name].order[-1]
        anneals = any(getattr(entry, "what", None) == "temperature" for entry in self.model.fit)
        bit, settings = variable.type.domain == "bit", self.settings(variable.name)
        return Drawing(
            variable.name, law.distribution, law.params, order, values, bit, self.rows, self.samples, settings, anneals
        )

    def passed(self, name: str) -> Callable[[Node], Node]:
        """A smooth draw as it is read, its gradient as its way passes it."""
        way = self.way(name)

        def read(node: Node) -> Node:
            if way.passed is None or self.samples is None or self.samples not in node.axes:
                return node
            return way.passed(node, self.samples, (*self.rows, *ordered(node.axes - {*self.rows, self.samples})))

        return read

    def source(self, name: str) -> Law:
        """The guide's law of a variable, or its own."""
        assert source_of(name, self.model) is not None
        return (self.f.guides.get(name) or self.f.factors[name]).law

    def order(self, variable: Variable, law: Law) -> tuple[Axis, ...]:
        """The axes of a draw: the samples, its plates, those of its law's parameters, those of its event."""
        frame = self.f.frame
        shape = frame.shape(variable.type)
        axes = {*map(frame.plate, variable.plates), *law_axes(law)}
        if self.samples is not None and variable.name not in self.one:
            axes.add(self.samples)
        return (*ordered(axes - {*shape}), *shape)

    def read(self, law: Law) -> Law:
        """A law with what is drawn so far in place of sites."""
        return changed(law, self.held)


def site_of(frame: Frame, variable: Variable) -> Site:
    site = frame.site(variable)
    assert isinstance(site, Site)
    return site


def draw_law(
    frame: Frame,
    law: Law,
    variable: Variable,
    order: tuple[Axis, ...],
    shape: tuple[Axis, ...],
    smooth: bool,
    read: Callable[[Node], Node] = same,
    now: Callable[[Node], Node] = same,
) -> Drawn:
    """A draw of a law along these axes, of which `shape` are those of its event. smooth: with a gradient through it, and as
    `read` says. now: how a number of values is read, which may differ along the chain that the draw is made along."""
    match law:
        case DrawLaw(name, params):
            entry = distributions()[name]
            if smooth and entry.carry is not None:
                return carried(frame, law, variable, order, shape, read)
            if smooth and entry.path is not None:
                noise = lambda kind: Noise(variable.name, kind, order)  # noqa: E731
                return Drawn(read(entry.path(noise, **{n: node for n, node, _ in params})), law)
            if entry.modifier is not None:
                params = tuple(part for n, node, own in params for part in taken(entry, n, node, own))
            if entry.optional and not params and variable.type.domain != "bit":
                share = build.mul(Noise(variable.name, "uniform", order), now(number_of_values(frame, variable.type)))
                return Drawn(build.apply("int", share), law)
            if entry.optional and not params:
                name, params = uniform(frame, variable, now)
            events = shape[len(shape) - entry.event_dim :]
            around = tuple(axis for axis in order if axis not in events)
            found = Draw(variable.name, name, params, events, around, smooth, dtype_of(variable.type))
            return Drawn(read(found) if smooth else found, law)
        case ChoiceLaw(test, then, otherwise):
            one, other = (draw_law(frame, each, variable, order, shape, smooth, read, now) for each in (then, otherwise))
            return Drawn(build.where(test, one.value, other.value), law)
        case FlowLaw(base):
            start = draw_law(frame, base, variable, order, shape, True).value
            found = through_layers(law, start, shape)
            return Drawn(read(Part(found, 0)), law, start, Part(found, 1))
    raise TypeError(f"{type(law).__name__} is drawn along its chain")


def through_layers(law: FlowLaw, start: Node, shape: tuple[Axis, ...]) -> Call:
    """A draw of the base carried through a flow's layers, and log |∂ draw / ∂ base|."""
    own = () if law.context is None else tuple(axis for axis in ordered(law.context.axes) if axis.kind == "event")
    context = () if law.context is None else ((law.context, own, ""),)
    given = ((build.spread(start, shape), shape, ""), *context)
    return Call("module", law.attribute, given, ((shape, "real"), ((), "real")), ())


def uniform(
    frame: Frame, variable: Variable, now: Callable[[Node], Node] = same
) -> tuple[str, tuple[tuple[str, Node, tuple[Axis, ...]], ...]]:
    """A law over a finite type without parameters, by one with them: each value as likely, along a ragged plate each that
    counts. now: as of draw_law."""
    if variable.type.domain == "bit":
        return "Bernoulli", (("probs", build.node(0.5), ()),)
    axis = values_axis(frame, variable)
    count = count_or_one(axis)
    probs = build.apply("div", 1.0, count)
    probs = probs if axis.lengths is None else build.where(build.lt(build.position(axis), count), probs, 0.0)
    return "Categorical", (("probs", build.spread(now(probs), (axis,)), (axis,)),)


def carried(
    frame: Frame,
    law: DrawLaw,
    variable: Variable,
    order: tuple[Axis, ...],
    shape: tuple[Axis, ...],
    read: Callable[[Node], Node],
) -> Drawn:
    """A Normal draw carried to where the law has its values."""
    entry = distributions()[law.distribution]
    assert entry.carry is not None
    base = draw_law(frame, base_law(law), variable, order, shape, True, read).value
    given = tuple((build.apply("real", node), (), "") for node in (base, *(node for _, node, _ in law.params[2:])))
    name = f"{entry.carry.__module__}:{entry.carry.__name__}"
    found = Call("kernel", name, given, (((), "real"), ((), "real")), ())
    return Drawn(Part(found, 0), law, base, Part(found, 1))


def base_law(law: Law) -> Law:
    """The Normal that the law's first two parameters are of, of each law where it is made of several."""
    match law:
        case DrawLaw(_, params):
            return DrawLaw("Normal", params[:2])
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(test, base_law(then), base_law(otherwise))
        case ThenLaw(axis, laws):
            return ThenLaw(axis, tuple(map(base_law, laws)))
        case FlowLaw(base):
            return base_law(base)
        case StateLaw():
            raise TypeError("a state is made of no Normal")


def law_axes(law: Law) -> frozenset[Axis]:
    """The axes along which a law's parameters and conditions differ, those that one draw has of them apart."""
    match law:
        case DrawLaw(_, params):
            return frozenset[Axis]().union(*(node.axes - {*own} for _, node, own in params))
        case ChoiceLaw(test, then, otherwise):
            return test.axes | law_axes(then) | law_axes(otherwise)
        case ThenLaw(axis, laws):
            return frozenset({axis}).union(*map(law_axes, laws))
        case FlowLaw(base, context):
            return law_axes(base) | (frozenset() if context is None else {a for a in context.axes if a.kind != "event"})
    raise TypeError(f"a {type(law).__name__} here")


def stopped(law: Law) -> Law:
    """A law whose parameters send no gradient on."""
    match law:
        case DrawLaw(name, params):
            return DrawLaw(name, tuple((n, build.stop(node), own) for n, node, own in params))
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(test, stopped(then), stopped(otherwise))
        case ThenLaw(axis, laws):
            return ThenLaw(axis, tuple(map(stopped, laws)))
        case FlowLaw(base, context):
            inner = stopped(base)
            assert isinstance(inner, DrawLaw)
            return replace(law, base=inner, context=None if context is None else build.stop(context))
    raise TypeError(f"a {type(law).__name__} here")
