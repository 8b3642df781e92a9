"""draws: the latents that rows share and those whose guide is a flow, the others of a row, and the deterministic nodes, from
the guides."""

from collections.abc import Iterator
from dataclasses import replace

from vispec.emit.draws.latents import draw_all
from vispec.emit.draws.weights import weighed_model
from vispec.emit.joint import joint_step
from vispec.emit.laws.expressions import expression
from vispec.emit.value import Value, align
from vispec.emit.writer import ModuleNeeds, Writer
from vispec.model.model import Flow, Let, Ref, Variable
from vispec.plan.axes import SAMPLES
from vispec.plan.estimate import drawn_from
from vispec.plan.guides import in_joint
from vispec.plan.make import make_plan
from vispec.plan.plan import Plan
from vispec.plan.treat import guide_law

NUMBERS = frozenset({"real", "positive", "unit", "simplex", "ordered", "cholesky", "count", "bit"})  # what has a mean


def draws_method(plan: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """The method `draws(batch, samples)` where a guide is over latents that rows share, or is a flow."""
    wanted = any(guessed(name, plan) for name in plan.shared_latents) or flows(plan)
    if plan.exact or plan.alternative is not None or not wanted:
        return []
    many = replace(make_plan(weighed_model(plan), weighing=True), count="samples")
    if joint_step(many) is not None:
        return []
    w = Writer(many.model, many.scope, many.order, needs)
    w.taken.add("samples")
    w.samples = w.sample_count = "samples"
    draw_all(w, many, [name for name in many.drawing_order if is_told(name, many)])
    found = {node.name: whole(w, many, node) for node in told(many)}
    lines = w.body(" ".join(value.code for value in found.values()))
    shapes = "; ".join(f"{name} {value.shape()}" for name, value in found.items())
    what = ", of what rows share and of what each row has" if many.has_shared else ""
    return [
        [
            "@torch.no_grad()",
            "def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:",
            f'    """Posterior draws, from the guides{what}: {shapes}."""',
            *(f"    {line}" for line in lines),
            "    return {" + ", ".join(f'"{name}": {value.code}' for name, value in found.items()) + "}",
        ]
    ]


def flows(plan: Plan) -> bool:
    """Whether a guide is told by its draws alone."""
    return any(isinstance(guide_law(name, plan.model), Flow) for name in plan.drawing_order)


def guessed(name: str, plan: Plan) -> bool:
    """Whether a guide stands for the posterior of a latent."""
    return guide_law(name, plan.model) is not None or in_joint(name, plan.model)


def is_told(name: str, plan: Plan) -> bool:
    """Whether a drawn latent and all that its guide reads come from guides."""
    behind = drawn_from(frozenset({name}), plan.model) & {v.name for v in plan.model.variables if v.role == "latent"}
    return all(guessed(each, plan) or plan.treatments[each].gradient == "point" for each in behind)


def told(plan: Plan) -> Iterator[Variable | Let]:
    """Drawn latents that are numbers, then the deterministic nodes that read nothing hidden but them."""
    model = plan.model
    names = [name for name in plan.drawing_order if is_told(name, plan)]
    for name in names:
        if model.variable[name].type.domain in NUMBERS and model.variable[name].role == "latent":
            yield model.variable[name]
    hidden = {v.name for v in model.variables if v.role in ("latent", "partial")} - set(names)
    for let in model.lets:
        read = drawn_from(reads_of(let, plan), model)
        if read & set(names) and not read & hidden and let.type.domain in NUMBERS and not let.type.star:
            yield let


def reads_of(let: Let, plan: Plan) -> frozenset[str]:
    """Variables that a deterministic node reads, through others."""
    from vispec.model.walk import walk

    lets = plan.model.let
    found, pending = set[str](), [let.value]
    while pending:
        for part in walk(pending.pop()):
            name = getattr(part, "name", None)
            if isinstance(name, str) and name not in found:
                found.add(name)
                pending += [lets[name].value] if name in lets else []
    return frozenset(found & set(plan.model.variable))


def whole(w: Writer, plan: Plan, node: Variable | Let) -> Value:
    """The node with the samples and all its plates."""
    value = w.bound[node.name] if isinstance(node, Variable) else expression(w, Ref(node.span, node.type, node.name))
    axes = w.sort({SAMPLES, *node.plates})
    if value.axes == axes:
        return w.nested(node, value)
    sizes = [plan.sample_count if axis == SAMPLES else w.axis_size(axis) for axis in axes]
    sizes += [w.dim(dim) for dim in node.type.shape]
    return w.nested(node, w.let(node.name, f"{align(value, axes)}.expand({', '.join(sizes)})", axes, node.type.shape))
