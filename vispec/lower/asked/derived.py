"""Derived quantities: what is computed of a row and read by no law. They take no part in log_prob, and can be asked for.

A tilt t adds t · value to the log-joint, and the gradient of log p at t = 0 is the posterior mean of the value; of a finite
value a tilt for each of its values gives their probabilities. The tilt of a sum is one for each addend, which couples nothing.
Where the sums would take more than their budget all the same, the value is computed at posterior draws of what is summed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from vispec.factors.expressions import named, whole_number
from vispec.factors.frame import element_plates
from vispec.factors.make import Factors, factorise
from vispec.lower.asked.addends import addends
from vispec.lower.asked.integrated import resolved
from vispec.lower.bound import combined
from vispec.lower.weights import all_drawn, weighed_model
from vispec.model.constant import derived_lets
from vispec.model.model import Let, Model, Ref, Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import is_read
from vispec.plan.budget import Budget
from vispec.plan.conjugate.integrate import posterior
from vispec.plan.estimate import estimation
from vispec.plan.gaussian.integrate import moments
from vispec.plan.held.hold import values_axis
from vispec.plan.held.joint import joint
from vispec.plan.held.setting import Setting
from vispec.plan.held.setting import setting as exact_setting
from vispec.plan.held.sink import below
from vispec.plan.order.execute import execute
from vispec.plan.order.refuse import IntractableError
from vispec.plan.planned import Plan
from vispec.plan.planner import cheapest, within
from vispec.plan.treat import treat
from vispec.plan.treatment import Row
from vispec.program import build
from vispec.program.affine.fold import Affine
from vispec.program.affine.forms import NotAffineError
from vispec.program.axis import Axis
from vispec.program.node import Draw, Input, Node, Noise, Site, Zeros
from vispec.program.program import Program
from vispec.program.walk import nodes, reads, substitute


@dataclass(frozen=True)
class Derived:
    """kind: whether `program` is log p with a tilt, the value at draws of the summed latents, or the posterior mean itself;
    "beyond" where latents are drawn beside a sum that exceeds its budget, and `why`.
    order: of the answer's axes. zeros: a tilt of nothing. samples: the axis of the draws, whose number a call says."""

    let: Let
    kind: str
    program: Program
    order: tuple[Axis, ...]
    zeros: Node | None = None
    samples: Axis | None = None
    why: str = ""

    @property
    def words(self) -> str:
        """What it is and how it is told, as the printed plan says it."""
        if self.kind == "beyond":
            return f"read by no law; a posterior does not tell it: {self.why}"
        mean = "probabilities" if self.let.type.domain in FINITE_DOMAINS else "mean"
        drawn = " at draws of what is summed" if self.kind == "draws" else "" if self.samples is None else " over draws"
        what = "value" if self.kind == "value" and self.samples is None else f"posterior {mean}{drawn}"
        return f"read by no law: its {what} (`--of {self.let.name}`)"


def derived(f: Factors, budget: Budget) -> tuple[Derived, ...]:
    """How each let is told that no law reads."""
    return tuple(quantity(let, f, budget) for let in derived_lets(f.model))


def rows(plan: Plan, limits: Budget) -> tuple[Row, ...]:
    """How each of them is told, as lines of the printed plan."""
    found = derived(plan.row.f, limits)
    return tuple(Row(each.let.name, each.let.plates, "derived", exact(each), {}, each.words) for each in found)


def exact(found: Derived) -> bool:
    """Whether the answer has no draws."""
    return found.kind in ("value", "tilt") and found.samples is None


def quantity(let: Let, f: Factors, budget: Budget) -> Derived:
    """How one of them is told."""
    s = setting(let, f)
    (value,) = substitute([named(s.f.frame, let.name)], s.draws.held)
    summed = [name for name, found in s.treatments.items() if found.kind == "sum"]
    plates = tuple(map(f.frame.plate, element_plates(let)))
    unknown = below([value], summed)[value] or s.draws.samples in value.axes
    if read := pairs_in(value, s):
        if not is_affine(value, s, read) or let.type.domain in FINITE_DOMAINS:
            why = f"it is no sum of multiples of what is integrated, {' and '.join(sorted(read))}"
            return Derived(let, "beyond", whole(s, {}), (), why=why)
        value = at_mean(value, s, read)
        unknown = bool(summed) or s.draws.samples is not None
        value = value if unknown else resolved(s, {let.name: value})[let.name]
    if read := gaussian_in(value, s):
        if let.type.domain in FINITE_DOMAINS or not is_sum_of(value, s, read):
            why = f"it is no sum of multiples of what is integrated, {' and '.join(sorted(read))}"
            return Derived(let, "beyond", whole(s, {}), (), why=why)
        unknown = bool(summed) or s.draws.samples is not None
        value = value if unknown else resolved(s, {let.name: moments(value).mean})[let.name]
    if not unknown or not {*plates} & {*s.draws.rows}:
        return told_itself(let, s, value, plates)
    try:
        return tilted(let, s, value, plates, budget)
    except IntractableError as error:
        if s.combine != "exact":  # what is drawn and what is summed would have to be drawn together
            return Derived(let, "beyond", whole(s, {}), (), why=error.why)
        return at_draws(let, s, value, plates)


def gaussian_in(value: Node, s: Setting) -> frozenset[str]:
    """The latents of a joint normal law that a value reads."""
    sites = (each.site for each in nodes([value]) if isinstance(each, Draw | Noise))
    return frozenset(name for name in sites if name in s.treatments and s.treatments[name].kind == "integrate")


def is_sum_of(value: Node, s: Setting, names: Collection[str]) -> bool:
    """Whether a value is affine in what these are made of."""
    return is_affine_in({name: s.f.frame.axes_of(s.f.model.variable[name]) for name in names}, value)


def is_affine_in(axes: Mapping[str, tuple[Axis, ...]], value: Node) -> bool:
    """Whether a value is affine in noise of these names."""
    try:
        Affine(axes).form(value)
    except NotAffineError:
        return False
    return True


def pairs_in(value: Node, s: Setting) -> frozenset[str]:
    """The latents integrated by conjugate pairs that a value reads."""
    return frozenset(site.name for site in reads(value, Site) if site.name in s.f.model.pairs)


def is_affine(value: Node, s: Setting, names: Collection[str]) -> bool:
    """Whether a value is at its posterior mean where these latents are at theirs."""
    sites = {site: Noise(site.name, "", site.order) for site in reads(value, Site) if site.name in names}
    return is_affine_in({site.name: site.order for site in sites}, substitute([value], sites)[0])


def at_mean(value: Node, s: Setting, names: Collection[str]) -> Node:
    return substitute([value], {site: posterior(site).mean for site in reads(value, Site) if site.name in names})[0]


def setting(let: Let, f: Factors) -> Setting:
    """The latents held so that the let can be told: whatever it reads takes part. What no law reads is drawn from its own law,
    which is its posterior; a guide of it has learnt nothing."""
    reader = replace(let, name=f"asked {let.name}", value=Ref(let.span, let.type, let.name))
    learnt = tuple(each for each in f.model.guide if is_read(f.model, each.name))
    asks = replace(f.model, guide=learnt, guide_lets=(*f.model.guide_lets, reader))
    return complete(asks, f)


def complete(model: Model, f: Factors) -> Setting:
    """What log_prob leaves out takes part; latents that cannot be summed are drawn from their guides and weighed."""
    treatments = {v.name: treat(v, model, True) for v in model.variables}
    _, combine = estimation(model, treatments, ())
    if combine == "exact":
        return exact_setting(f if model is f.model else factorise(model, f.frame), treatments)
    return all_drawn(weighed_model(model, treatments), f, complete=True)


def answer(let: Let, s: Setting, value: Node, plates: tuple[Axis, ...]) -> tuple[Node, tuple[Axis, ...]]:
    """What is averaged, with its axes in order: the value, or of a finite one 1 at the value that it has."""
    frame = s.f.frame
    order = (*plates, *frame.shape(let.type))
    if let.type.domain not in FINITE_DOMAINS:
        return build.apply("real", value), order
    axis = axis_of(let, s)
    return build.apply("real", build.eq(build.position(axis), whole_number(value))), (*order, axis)


def axis_of(let: Let | Variable, s: Setting) -> Axis:
    """The axis of the values of what has finitely many."""
    return values_axis(s.f.frame, Variable(let.name, "latent", let.type, let.plates, None, let.span))


# ---- three ways


def told_itself(let: Let, s: Setting, value: Node, plates: tuple[Axis, ...]) -> Derived:
    """What data and draws that all rows share decide."""
    node, order = answer(let, s, value, plates)
    samples = s.draws.samples if s.draws.samples in node.axes else None
    node = node if samples is None else build.mean(node, (samples,))
    return Derived(let, "value", whole(s, {let.name: build.spread(node, order)}), order, samples=samples)


def tilted(let: Let, s: Setting, value: Node, plates: tuple[Axis, ...], budget: Budget) -> Derived:
    """log p of each row with a tilt. Raises IntractableError where that takes more than its budget."""
    frame, summed = s.f.frame, [name for name, found in s.treatments.items() if found.kind == "sum"]
    order = (*plates, *frame.shape(let.type))
    if let.type.domain in FINITE_DOMAINS:
        axis = axis_of(let, s)
        order = (*order, axis)
        parts = [(build.pick(Input("tilt", order, "real", "argument"), {axis: whole_number(value)}), frozenset(plates))]
    else:
        parts = list(addends(value, Input("tilt", order, "real", "argument"), frozenset(plates), summed))
    named_parts = {f"tilt_{let.name}_{number}": part for number, part in enumerate(parts)}
    s = replace(s, joint=joint(s.f, s.treatments, s.draws, named_parts))
    problem = within(s.joint.problem, s.f.model, budget)
    found = cheapest(problem)
    node = combined(s, execute(found, {each.name: each.node for each in problem.factors}), query=True)
    return Derived(let, "tilt", whole(s, {"tilted": node}), order, Zeros(order), s.draws.samples)


def at_draws(let: Let, s: Setting, value: Node, plates: tuple[Axis, ...]) -> Derived:
    """The value where summed latents have the values that a dictionary says."""
    node, order = answer(let, s, value, plates)
    told = dict[Node, Node]()
    for site in below([node], s.joint.held.own)[node]:
        given: Node = Input(site.name, site.order, "int", "values")
        told[site] = given if site.kind == "int" else build.apply("real", given)
    return Derived(let, "draws", whole(s, {let.name: build.spread(substitute([node], told)[0], order)}), order)


def whole(s: Setting, outputs: Mapping[str, Node]) -> Program:
    return Program(dict(outputs), s.f.frame.hints, s.f.frame.spans)
