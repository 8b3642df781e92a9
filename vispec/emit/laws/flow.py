"""A guide's draw that autoregressive layers carry on: the base's draw and what the layers gain are kept for its log-density."""

from vispec.emit.draws.joint_guide import local
from vispec.emit.laws.carried import log_of_carried
from vispec.emit.laws.expressions import plain
from vispec.emit.value import Value, align, base_of, gain_of
from vispec.emit.writer import Writer
from vispec.model.model import Flow, Variable
from vispec.plan.plan import Plan

KERNELS, LAYERS = "vispec.kernels.draws.autoregressive", "AutoregressiveLayers"


def flow_constructors(plan: Plan) -> list[str]:
    """The constructor's lines, for the guides of latents that are drawn."""
    model = plan.model
    found = [(guide, guide.law) for guide in model.guide if plan.treatments[guide.name].kind == "draw"]
    return [flow_constructor(model.variable[guide.name], law) for guide, law in found if isinstance(law, Flow)]


def flow_constructor(variable: Variable, law: Flow) -> str:
    (size,) = variable.type.shape
    settings = [f"{name}={value}" for name, value in law.settings]
    if law.context is not None:
        settings.append(f"context={local(law.context.type.shape[0])}")
    return f"self.{law.attribute} = {LAYERS}({', '.join([local(size), *settings])})"


def carry(w: Writer, variable: Variable, law: Flow, base: Value) -> Value:
    """The draw; its base and the gain are bound too."""
    w.needs.kernel(KERNELS, LAYERS)
    context = None if law.context is None else plain(w, law.context)
    told = "" if context is None else f", {align(context, base.axes)}"
    drawn, gain = Value(w.fresh(variable.name), base.axes, base.event), Value(w.fresh(f"gain_{variable.name}"), base.axes)
    w.line(f"{drawn.code}, {gain.code} = self.{law.attribute}({base.code}{told})  # {drawn.shape()}, {gain.shape()}")
    w.bound[base_of(variable.name)], w.bound[gain_of(variable.name)] = base, gain
    return drawn


def log_of_flow(w: Writer, variable: Variable, law: Flow) -> Value:
    """log q at the draw: that of the base at its own, less the gain."""
    return log_of_carried(w, variable, law.base)
