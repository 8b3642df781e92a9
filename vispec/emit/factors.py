"""The plan's factors as tensors, and its steps over them."""

from collections.abc import Mapping, Sequence

from vispec.catalog import distributions
from vispec.emit.draws.combine import combine
from vispec.emit.draws.latents import draw_all, minus_kl, ratio
from vispec.emit.laws import trees
from vispec.emit.laws.categorical import Lookup, Unnormalised
from vispec.emit.laws.densities import Chained, Density, dense, density
from vispec.emit.laws.expressions import named
from vispec.emit.steps import steps
from vispec.emit.value import Value, align, union
from vispec.emit.writer import Writer, identifier
from vispec.model.model import Then, Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import draws
from vispec.plan.plan import Factor, Plan, Step
from vispec.plan.treat import chain_of, guide_law


def emit_factors(w: Writer, plan: Plan) -> dict[str, Density]:
    """Every factor but those inside a sum over joint values, drawing the drawn variables on the way."""
    draw_all(w, plan, plan.drawing_order)
    return {factor.name: emit_factor(w, plan, factor) for factor in plan.factors if factor.name not in w.elsewhere}


def emit_factor(w: Writer, plan: Plan, factor: Factor) -> Density:
    variable = plan.model.variable[factor.variable]
    match factor.kind:
        case "seen":
            return evidence(w, variable)
        case "kl":
            return minus_kl(w, plan, variable)
        case "ratio":
            return ratio(w, plan, variable)
        case "guide":
            return enumerated_guide(w, plan, variable)
        case "labels":
            return labels(w, plan, variable)
        case "arcs":
            return trees.arcs(w, variable)
        case "norm":
            return trees.log_norm(w, variable)
    if variable.type.domain == "tree":
        return trees.log_prob(w, variable)
    assert factor.law is not None
    value = named(w, variable.name)
    hint = f"log_{identifier(variable.name)}"
    if isinstance(factor.law, Then) and value.enumerates is not None and chain_of(variable, plan.model):
        hints = [f"{hint}_first", *[f"{hint}_second"] * (len(factor.law.laws) - 2), hint]
        parts = zip(factor.law.laws, hints, strict=True)
        return Chained(tuple(dense(w, density(w, variable, value, law, name)) for law, name in parts))
    found = density(w, variable, value, factor.law, hint)
    if plan.treatments[variable.name].kind == "masked":
        return where_seen(w, variable, dense(w, found))
    takers = {Lookup: ("sum", "chain"), Unnormalised: ("sum",)}.get(type(found))
    return found if takers is None or summed_alone(plan, factor, takers) else dense(w, found)


def summed_alone(plan: Plan, factor: Factor, kinds: Sequence[str]) -> bool:
    """Whether the step that takes the factor is of one of these kinds and sums out one latent."""
    takes = (step for step in plan.steps if factor.name in step.inputs)
    return any(step.kind in kinds and len(step.eliminated) == 1 for step in takes)


def where_seen(w: Writer, variable: Variable, log: Value) -> Value:
    """A partial leaf's log-density, 0 where its cell is missing."""
    seen = w.observed(variable.name)
    axes = union((log, seen), w.order)
    return w.let(f"log_{identifier(variable.name)}", f"torch.where({align(seen, axes)}, {align(log, axes)}, 0.0)", axes)


def evidence(w: Writer, variable: Variable) -> Value:
    """0 for the value in the data and -inf for any other; 0 for all where the cell is missing."""
    data, seen = w.data(variable.name), w.observed(variable.name)
    values = named(w, variable.name)
    axes = w.sort((*data.axes, variable.name))
    agrees = f"({align(data, axes)} == {values.code}) | ~{align(seen, axes)}"
    return w.let(f"seen_{identifier(variable.name)}", f"torch.where({agrees}, 0 * self.one, -torch.inf)", axes)


def enumerated_guide(w: Writer, plan: Plan, variable: Variable) -> Value:
    """log q of every value; where a partial variable's cell is seen, q is certain of it."""
    law = guide_law(variable.name, plan.model)
    assert law is not None
    log_q = dense(w, density(w, variable, named(w, variable.name), law, f"log_q_{variable.name}"))
    if variable.role != "partial":
        return log_q
    certain, seen = evidence(w, variable), w.observed(variable.name)
    axes = union((certain, log_q), w.order)
    code = f"torch.where({align(seen, axes)}, {align(certain, axes)}, {align(log_q, axes)})"
    return w.let(f"log_q_{variable.name}", code, axes)


def labels(w: Writer, plan: Plan, variable: Variable) -> Value:
    """In training, the weighted log q of what the data has of a partial variable; 0 where its cell is missing."""
    law = w.drawn_by.get(variable.name) or guide_law(variable.name, plan.model)
    assert law is not None
    weight = next(entry.value for entry in plan.model.fit if entry.key == "supervise")  # type: ignore[union-attr]
    log_q = dense(w, density(w, variable, w.known(variable.name), law, f"log_q_at_{variable.name}"))
    seen = w.observed(variable.name)
    axes = union((seen, log_q), w.order)
    code = f"torch.where({align(seen, axes)} & self.training, {weight} * {align(log_q, axes)}, 0.0)"
    return w.let(f"labels_{variable.name}", code, axes)


# ---- steps


def emit_steps(w: Writer, plan: Plan, found: Mapping[str, Density], query: bool) -> Value:
    """Run the plan's steps; the result has the data plate, and the samples where there are several."""
    total = run_steps(w, plan.steps, found, query)["total"]
    assert isinstance(total, Value)
    total = combine(w, plan, total, query)
    if query or not plan.exact or never_impossible(plan) or is_sum(plan):
        return total
    function = w.needs.kernel("vispec.kernels.sums.logsum", "impossible_alone")
    return w.let("log_prob", f"{function}({total.code})", total.axes)


def never_impossible(plan: Plan) -> bool:
    """Whether each value that may be scored has a density: nothing has finitely many, no law is narrower than its domain."""
    scored = [v for v in plan.model.variables if v.role != "given"]
    entries = [distributions()[draw.distribution] for v in scored if v.law for draw in draws(v.law)]
    return all(entry.everywhere for entry in entries) and not any(v.type.domain in FINITE_DOMAINS for v in scored)


def is_sum(plan: Plan) -> bool:
    """Whether a row's log-probability is one sum over latents, which sends no gradient where it is -inf."""
    *before, last = plan.steps
    return len(last.inputs) == 1 and any(s.output == last.inputs[0] and s.kind in ("sum", "chain", "tree") for s in before)


def run_steps(w: Writer, todo: Sequence[Step], found: Mapping[str, Density], query: bool) -> dict[str, Density]:
    """The steps whose inputs are at hand; a sum over joint values is made by what `w.joint_sums` says."""
    values = dict(found)
    for step in todo:
        if step.output in w.joint_sums:
            values[step.output] = w.joint_sums[step.output](query)
        elif all(name in values for name in step.inputs):
            inputs = {name: values.pop(name) for name in step.inputs}
            values[step.output] = steps()[step.kind].emit(w, step, inputs, query)
    return values
