"""The guides of drawn latents, as the posterior tells them: their parameters, what they read being at its mode or location."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vispec.catalog import distributions
from vispec.factors.laws import DrawLaw, FlowLaw
from vispec.lower.asked.integrated import everything, in_closed_form, order_of
from vispec.model.types import FINITE_DOMAINS
from vispec.plan.held.along import changed
from vispec.plan.held.draws import through_layers
from vispec.plan.held.joint_guide import draw_jointly
from vispec.plan.held.setting import Setting
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Input, Node, Part, Site
from vispec.program.program import Program
from vispec.program.walk import reads


@dataclass(frozen=True)
class Guided:
    """program: "x param" for each parameter of each guide. orders: their axes. modes: whether some guide reads a sum."""

    program: Program
    orders: Mapping[str, tuple[Axis, ...]]
    modes: bool


def guided(s: Setting) -> Guided | None:
    """None where no guide is told by its parameters."""
    f, model = s.f, s.f.model
    frame = f.frame
    held: dict[Node, Node] = {site: node for site, node in s.draws.held.items() if reads(node, Input) == [node]}
    for name, found in s.treatments.items():
        variable = model.variable[name]
        if found.kind == "sum":
            order = tuple(map(frame.plate, variable.plates))
            held[frame.site(variable)] = Input(name, order, getattr(frame.site(variable), "kind"), "mode")  # noqa: B009
    outputs, orders = dict[str, Node](), dict[str, tuple[Axis, ...]]()
    for key, node in in_closed_form(everything(s)).items():
        outputs[key], orders[key] = node, order_of(s, key.partition(" ")[0])
    for name in s.draws.everything:
        guide, variable = f.guides.get(name), model.variable[name]
        if model.joint is not None and name in model.joint.names:
            middle, _ = draw_jointly(frame, model.joint, (), held, centre=True)
            held[frame.site(variable)] = middle[name]
        if guide is not None and isinstance(guide.law, FlowLaw):
            flow = changed(guide.law, held)
            assert isinstance(flow, FlowLaw)
            start = flow.base.params[0][1]
            held[frame.site(variable)] = Part(through_layers(flow, start, frame.shape(variable.type)), 0)
        if guide is None or not isinstance(guide.law, DrawLaw):
            continue
        law = changed(guide.law, held)
        assert isinstance(law, DrawLaw)
        if any(site.name == name for _, node, _ in law.params for site in reads(node, Site)):
            continue  # it reads the draws before, through a state
        plates, shape = tuple(map(frame.plate, variable.plates)), frame.shape(variable.type)
        entry = distributions()[law.distribution]
        for param, node, own in law.params:
            rank = len(shape) - entry.event_dim
            order = (*plates, *shape[:rank], *own) if own else (*plates, *shape)
            outputs[f"{name} {param}"], orders[f"{name} {param}"] = build.spread(node, order), order
        if name in s.draws.mixed:
            ((_, probs, own),) = law.params
            held[s.draws.mixed[name]] = build.rename(probs, {own[-1]: s.draws.mixed[name].order[-1]})
            continue
        labels = variable.type.domain in FINITE_DOMAINS and variable.type.domain != "bit"
        held[frame.site(variable)] = likeliest(law) if labels else centre(law)
        if entry.carry is not None:
            held[frame.base(variable)] = law.params[0][1]
    if not outputs:
        return None
    modes = any(node.source == "mode" for root in outputs.values() for node in reads(root, Input))
    return Guided(Program(outputs, frame.hints, frame.spans), orders, modes)


def likeliest(law: DrawLaw) -> Node:
    """The most probable label of a law; of equals the last, the first where each is as likely."""
    if not law.params:
        return build.node(0)
    ((_, probs, (values,)),) = law.params
    best = build.eq(probs, build.reduce("max", probs, (values,)))
    return build.reduce("max", build.where(best, build.position(values), 0), (values,))


def centre(law: DrawLaw) -> Node:
    """A location of a law: its first parameter, carried to where the law has its values."""
    entry = distributions()[law.distribution]
    (_, first, _), *_ = law.params
    if entry.carry is None:
        return first
    given = tuple((node, (), "") for node in (first, *(node for _, node, _ in law.params[2:])))
    return Part(Call("kernel", f"{entry.carry.__module__}:{entry.carry.__name__}", given, (((), "real"), ((), "real")), ()), 0)
