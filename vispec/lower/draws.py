"""Draws of latents, each as its estimator asks for, and what a draw adds to the log-weight of its sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from vispec.catalog import distributions
from vispec.factors.expressions import expression
from vispec.factors.frame import Frame
from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, ThenLaw, log_prob
from vispec.factors.make import Factors
from vispec.lower.along import Body, Member, along, lags_of, parts
from vispec.lower.divergence import divergence
from vispec.model.model import Model, Variable
from vispec.plan.estimate import drawn_together, source_of
from vispec.plan.guides import point_of
from vispec.plan.plan import Treatment
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.node import Call, Draw, Node, Noise, Part, Site
from vispec.program.walk import substitute


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
    """held: site → what holds it, the bases of carried draws too. samples: the axis of the samples, where there are several."""

    f: Factors
    treatments: Mapping[str, Treatment]
    samples: Axis | None
    one: frozenset[str] = frozenset()  # drawn once whatever the number of samples
    everything: tuple[str, ...] = ()  # all that is drawn, in order
    analytic: frozenset[str] = frozenset()  # which add a divergence in closed form
    drawn: dict[str, Drawn] = field(default_factory=dict)
    held: dict[Node, Node] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.f.model

    def draw_all(self, names: Iterable[str]) -> None:
        """Each after those that its law reads."""
        names = tuple(names)
        for name in names:
            group = drawn_together(name, self.everything or names, self.model)
            if name in self.drawn:
                continue
            if group:
                self.draw_group([self.model.variable[each] for each in group])
            else:
                self.keep(self.model.variable[name], self.draw(self.model.variable[name]))

    def draw_group(self, group: list[Variable]) -> None:
        """Variables that need each other's past elements, in one loop along their chain."""
        frame, model = self.f.frame, self.model
        chain = frame.plate(next(p for p in reversed(group[0].plates) if model.plate[p].kind == "chain"))
        laws = [self.read(self.source(variable.name)) for variable in group]
        sites = [site_of(frame, variable) for variable in group]
        members = [Member(site, law, lags_of(laws, site)) for site, law in zip(sites, laws, strict=True)]
        axes = {axis for v, law in zip(group, laws, strict=True) for axis in self.order(v, law, self.treatments[v.name])}
        around = ordered(axis for axis in axes - {chain} if axis.kind != "event")
        kept = {site.name: keeps(law) for site, law in zip(sites, laws, strict=True)}

        def step(site: Site, law: Law, order: tuple[Axis, ...], body: Body) -> tuple[Node, tuple[Node, ...]]:
            variable = model.variable[site.name]
            lead = tuple(axis for axis in order if axis.kind != "event")
            found = draw_law(law, variable, (*lead, *frame.shape(variable.type)), self.treatments[site.name].gradient)
            value = found.value
            if variable.role == "partial":
                value = build.where(body.at(frame.observed(variable)), body.at(frame.data(variable)), value)
            extra = () if found.base is None or found.gain is None else (found.base, found.gain)
            return value, (*(parts(law) if kept[site.name] else ()), *extra)

        found = along(f"along {chain.hint} of {', '.join(v.name for v in group)}", chain, members, around, step, frame.hints)
        for variable, site, law in zip(group, sites, laws, strict=True):
            value, *beside = found[site.name]
            known = stacked(law, beside) if kept[site.name] else law
            if isinstance(known, DrawLaw) and kept[site.name]:
                for parameter, node, _ in known.params:
                    frame.named(node, f"{variable.name}_{parameter}")
            self.held[site] = frame.named(value, variable.name)
            carried = beside[len(parts(known)) :] if kept[site.name] else beside
            self.drawn[variable.name] = Drawn(value, known, *carried)
        for variable, _site, law in zip(group, sites, laws, strict=True):
            if not kept[variable.name]:
                found_ = self.drawn[variable.name]
                self.drawn[variable.name] = replace(found_, law=self.read(law))

    def keep(self, variable: Variable, found: Drawn) -> None:
        """Put a draw in the place of its site, and the data's own value where it has one."""
        frame = self.f.frame
        if variable.role == "partial":
            found = replace(found, value=build.where(frame.observed(variable), frame.data(variable), found.value))
        self.drawn[variable.name] = found
        self.held[frame.site(variable)] = frame.named(found.value, variable.name)
        if found.base is not None:
            order = (*map(frame.plate, variable.plates), *frame.shape(variable.type))
            self.held[Site(f"base of {variable.name}", order, "real")] = found.base

    def draw(self, variable: Variable) -> Drawn:
        """A point estimate, or a sample from the guide, or from the variable's own law where it has none."""
        treatment = self.treatments[variable.name]
        law = self.read(self.source(variable.name))
        if treatment.gradient == "point":
            point = expression(self.f.frame, point_of(variable, self.model))
            return Drawn(substitute([point], self.held)[0], law)
        order = self.order(variable, law, treatment)
        return draw_law(law, variable, order, treatment.gradient)

    def source(self, name: str) -> Law:
        """The guide's law of a variable, or its own."""
        assert source_of(name, self.model) is not None
        return (self.f.guides.get(name) or self.f.factors[name]).law

    def order(self, variable: Variable, law: Law, treatment: Treatment) -> tuple[Axis, ...]:
        """The axes of a draw: its plates, those of its law's parameters, and the samples."""
        frame = self.f.frame
        axes = {*map(frame.plate, variable.plates), *law_axes(law)}
        if self.samples is not None and variable.name not in self.one:
            axes.add(self.samples)
        return ordered(axes)

    def read(self, law: Law) -> Law:
        """A law with what is drawn so far in place of sites."""
        return changed(law, self.held)

    # ---- what a draw adds

    def log_ratio(self, variable: Variable) -> Node:
        """log p(z) − log q(z) at the draw; log p where a partial variable is seen, or where it is a point."""
        found, frame = self.drawn[variable.name], self.f.frame
        treatment = self.treatments[variable.name]
        prior = self.log_prior(variable)
        if treatment.gradient == "point":
            return prior
        if variable.name not in self.f.guides:
            return build.where(frame.observed(variable), prior, 0.0)
        fixed = treatment.gradient in ("stl", "dreg")
        q = self.log_q(variable, found, fixed)
        if treatment.gradient == "wake_sleep":
            q = build.stop(q)
        ratio = build.sub(prior, q)
        return build.where(frame.observed(variable), prior, ratio) if variable.role == "partial" else ratio

    def log_prior(self, variable: Variable) -> Node:
        """log p of the draw."""
        factor = self.f.factors[variable.name]
        assert factor.log_prob is not None
        return self.f.frame.named(substitute([factor.log_prob], self.held)[0], f"log_p_{variable.name}")

    def log_q(self, variable: Variable, found: Drawn, fixed: bool = False) -> Node:
        """log q of the draw; fixed: with a gradient through the draw alone, not through the guide's parameters."""
        frame = self.f.frame
        law = stopped(found.law) if fixed else found.law
        if found.base is not None and found.gain is not None:
            q = build.sub(log_prob(frame, base_law(law), found.base, variable.type), found.gain)
        else:
            q = log_prob(frame, law, found.value, variable.type)
        if fixed:
            q = Part(
                Call("kernel", "vispec.kernels.draws.reparameterised:through_the_draw", ((q, (), ""),), (((), "real"),), ()), 0
            )
        return frame.named(q, f"log_q_{variable.name}")

    def minus_kl(self, variable: Variable) -> Node | None:
        """−KL(q ‖ p), where there is a closed form; log p where a partial variable is seen."""
        found = divergence(
            self.f.frame, self.drawn[variable.name].law, self.read(self.f.factors[variable.name].law), variable.type
        )
        if found is None:
            return None
        return build.neg(self.f.frame.named(found, f"kl_{variable.name}"))


def site_of(frame: Frame, variable: Variable) -> Site:
    site = frame.site(variable)
    assert isinstance(site, Site)
    return site


def keeps(law: Law) -> bool:
    """Whether each element is drawn from one distribution, so that its parameters there are those of all elements at once."""
    each = law.laws if isinstance(law, ThenLaw) else (law,)
    return (
        all(isinstance(one, DrawLaw) for one in each)
        and len({one.distribution for one in each if isinstance(one, DrawLaw)}) == 1
    )


def stacked(law: Law, nodes: list[Node]) -> DrawLaw:
    """The distribution of all elements, with its parameters along the chain."""
    first = law.laws[-1] if isinstance(law, ThenLaw) else law
    assert isinstance(first, DrawLaw)
    return DrawLaw(first.distribution, tuple((n, node, own) for (n, _, own), node in zip(first.params, nodes, strict=False)))


def draw_law(law: Law, variable: Variable, order: tuple[Axis, ...], gradient: str) -> Drawn:
    """A draw of a law along these axes and the event's, as a gradient asks for."""
    match law:
        case DrawLaw(name, params):
            entry = distributions()[name]
            pathwise = gradient in ("pathwise", "stl", "dreg", "relaxed")
            if pathwise and entry.carry is not None:
                return carried(law, variable, order)
            if pathwise and entry.path is not None:
                noise = lambda kind: Noise(variable.name, kind, order)  # noqa: E731
                return Drawn(entry.path(noise, **{n: node for n, node, _ in params}), law)
            events = tuple(axis for _, _, own in params for axis in own)[: entry.event_dim]
            return Drawn(Draw(variable.name, name, params, events, order, pathwise, "real"), law)
        case ChoiceLaw(test, then, otherwise):
            one, other = (draw_law(each, variable, order, gradient) for each in (then, otherwise))
            return Drawn(build.where(test, one.value, other.value), law)
    raise TypeError(f"{type(law).__name__} is drawn along its chain")


def carried(law: DrawLaw, variable: Variable, order: tuple[Axis, ...]) -> Drawn:
    """A Normal draw carried to where the law has its values."""
    entry = distributions()[law.distribution]
    assert entry.carry is not None
    base = draw_law(base_law(law), variable, order, "pathwise").value
    given = tuple((node, (), "") for node in (base, *(node for _, node, _ in law.params[2:])))
    name = f"{entry.carry.__module__}:{entry.carry.__name__}"
    found = Call("kernel", name, given, (((), "real"), ((), "real")), ())
    return Drawn(Part(found, 0), law, base, Part(found, 1))


def base_law(law: Law) -> DrawLaw:
    """The Normal that the law's first two parameters are of."""
    assert isinstance(law, DrawLaw)
    return DrawLaw("Normal", law.params[:2])


def law_axes(law: Law) -> frozenset[Axis]:
    """The axes along which a law's parameters and conditions differ, those that one draw has of them apart."""
    match law:
        case DrawLaw(_, params):
            return frozenset[Axis]().union(*(node.axes - {*own} for _, node, own in params))
        case ChoiceLaw(test, then, otherwise):
            return test.axes | law_axes(then) | law_axes(otherwise)
        case ThenLaw(axis, laws):
            return frozenset({axis}).union(*map(law_axes, laws))
    raise TypeError(f"{type(law).__name__} has layers of its own")


def changed(law: Law, held: Mapping[Node, Node]) -> Law:
    """A law with nodes in place of others."""
    match law:
        case DrawLaw(name, params):
            new = substitute([node for _, node, _ in params], held)
            return DrawLaw(name, tuple((n, node, own) for node, (n, _, own) in zip(new, params, strict=True)))
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(substitute([test], held)[0], changed(then, held), changed(otherwise, held))
        case ThenLaw(axis, laws):
            return ThenLaw(axis, tuple(changed(each, held) for each in laws))
    raise TypeError(f"{type(law).__name__} has layers of its own")


def stopped(law: Law) -> Law:
    """A law whose parameters send no gradient on."""
    match law:
        case DrawLaw(name, params):
            return DrawLaw(name, tuple((n, build.stop(node), own) for n, node, own in params))
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(test, stopped(then), stopped(otherwise))
        case ThenLaw(axis, laws):
            return ThenLaw(axis, tuple(map(stopped, laws)))
    raise TypeError(f"{type(law).__name__} has layers of its own")
