"""divergences: log p − log q of each latent of a row at draws from its guide, and these draws; diagnostics use them."""

from dataclasses import replace

from vispec.emit.draws.latents import draw_all
from vispec.emit.draws.moments import NUMBERS, whole
from vispec.emit.draws.weights import weighed_model
from vispec.emit.factors import emit_factor
from vispec.emit.joint import joint_step
from vispec.emit.laws.densities import dense
from vispec.emit.laws.forms import tensor
from vispec.emit.steps import steps
from vispec.emit.value import Value, align
from vispec.emit.writer import ModuleNeeds, Writer
from vispec.plan.axes import SAMPLES
from vispec.plan.make import make_plan
from vispec.plan.plan import Factor, Plan, Step
from vispec.plan.treat import guide_law


def divergences_method(plan: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """The method `divergences(batch, samples)` where a latent of a row has a guide; one that is coupled to a sum has none."""
    if plan.exact or plan.alternative is not None:
        return []
    many = replace(make_plan(weighed_model(plan), weighing=True), count="samples")
    factors = [factor for factor in many.factors if is_guided(factor, many)]
    if joint_step(many) is not None or not factors:
        return []
    w = Writer(many.model, many.scope, many.order, needs)
    w.taken.add("samples")
    w.samples = w.sample_count = "samples"
    draw_all(w, many, many.drawing_order)
    found = {factor.variable: pair(w, many, factor) for factor in factors}
    lines = w.body(" ".join(code for both in found.values() for code in both))
    entries = ", ".join(f'"{name}": ({ratio}, {drawn})' for name, (ratio, drawn) in found.items())
    return [
        [
            "@torch.no_grad()",
            "def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:",
            f'    """Of {", ".join(found)}: log p − log q (samples, {many.data_plate}) at draws from the guide, and the draws.',
            "",
            "    Draws have the samples and the rows first; None stands for categories, and where rows differ in length.",
            '    """',
            *(f"    {line}" for line in lines),
            f"    return {{{entries}}}",
        ]
    ]


def is_guided(factor: Factor, plan: Plan) -> bool:
    """Whether a factor is log p − log q of one latent of a row alone."""
    variable = plan.model.variable[factor.variable]
    guided = guide_law(variable.name, plan.model) is not None and variable.role == "latent"
    return factor.kind == "ratio" and guided and not factor.latents and plan.data_plate in variable.plates


def pair(w: Writer, plan: Plan, factor: Factor) -> tuple[str, str]:
    """log p − log q of a row, summed over its plates; and the draws, or None."""
    value = dense(w, emit_factor(w, plan, factor))
    plates = tuple(plate for plate in factor.plates if plate != plan.data_plate)
    if plates:
        step = Step((factor.name,), factor.name, (), (), "product", plates, "")
        summed = steps()["product"].emit(w, step, {factor.name: value}, False)
        assert isinstance(summed, Value)
        value = summed
    axes = (SAMPLES, plan.data_plate)
    if value.axes != axes:
        code = tensor(w, value) if value.scalar else align(value, axes)
        value = w.let(factor.name, f"{code}.expand(samples, {w.plate_size(plan.data_plate)})", axes)
    variable = plan.model.variable[factor.variable]
    numbers = variable.type.domain in NUMBERS and not any(plan.model.plate[p].ragged for p in variable.plates)
    return value.code, whole(w, plan, variable).code if numbers else "None"
