"""log_weights: importance weights of draws from the guides, as many as a call asks for; evaluation combines them."""

from dataclasses import replace

from vispec.emit.draws.latents import draw_all
from vispec.emit.factors import emit_factor, run_steps
from vispec.emit.joint import joint_step
from vispec.emit.laws.forms import tensor
from vispec.emit.value import Value
from vispec.emit.writer import ModuleNeeds, Writer
from vispec.model.model import Estimator, Infer, Model
from vispec.plan.axes import SAMPLES
from vispec.plan.make import make_plan
from vispec.plan.plan import Plan
from vispec.plan.treat import guide_law


def log_weights_method(plan: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """The method `log_weights(batch, samples)`; none where log_prob is exact, or its latents are enumerated jointly."""
    if plan.exact:
        return []
    plan = plan.alternative or plan
    weighed = replace(make_plan(weighed_model(plan), weighing=True), count="samples")
    if joint_step(weighed) is not None:
        return []
    w = Writer(weighed.model, weighed.scope, weighed.order, needs)
    w.taken.add("samples")
    w.samples = w.sample_count = "samples"
    draw_all(w, weighed, weighed.drawing_order)
    factors = {factor.name: emit_factor(w, weighed, factor) for factor in weighed.factors}
    total = run_steps(w, weighed.steps, factors, query=False)["total"]
    assert isinstance(total, Value)
    result = with_samples(w, total)
    lines = w.body(result)
    rows = weighed.data_plate
    shared = "; what all rows share is drawn with each sample and adds nothing" if weighed.has_shared else ""
    return [
        [
            "@torch.no_grad()",
            "def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:",
            f'    """log p(row, latents) − log q(latents) at draws of the latents, (samples, {rows}){shared}."""',
            *(f"    {line}" for line in lines),
            f"    return {result}",
        ]
    ]


def with_samples(w: Writer, total: Value) -> str:
    return total.code if SAMPLES in total.axes else f"({tensor(w, total)}).expand(samples, -1)"


def weighed_model(plan: Plan) -> Model:
    """Every draw from its guide with its own weight, and what can be summed exactly summed without its guide."""
    model = plan.model
    summed = {name for name, found in plan.treatments.items() if found.kind == "sum"}
    asked = tuple(
        Infer(found.variable, weighing(found.estimator, found.variable, model), None, None, model.variable[found.variable].span)
        for found in plan.drawn
        if found.estimator is not None
    )
    kept = tuple(infer for infer in model.infer if infer.estimator.name == "map")
    guide = tuple(g for g in model.guide if g.name not in summed)
    return replace(model, guide=guide, infer=(*kept, *asked), fit=())  # no annealing of what is weighed


def weighing(estimator: Estimator, name: str, model: Model) -> Estimator:
    if estimator.name == "mc" and guide_law(name, model) is None:
        return replace(estimator, settings=(("samples", 2),))
    plain = not model.variable[name].type.discrete and ("gradient", "score") not in estimator.settings
    settings = (("samples", 2), ("gradient", "pathwise" if plain and estimator.name != "score" else "score"))
    return Estimator("iwae", settings, estimator.span)
