"""The plan's factors as tensors, and its steps over them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vispec.catalog import distributions
from vispec.emit import trees
from vispec.emit.densities import Chained, Density, Table, dense, density, extra_rank
from vispec.emit.expressions import expression, named, parameter, tensor, to_value
from vispec.emit.joins import add
from vispec.emit.kl import kl_code
from vispec.emit.steps import steps
from vispec.emit.value import Value, align, union
from vispec.emit.writer import Writer, identifier
from vispec.model.model import Draw, Then, Variable
from vispec.model.types import INTEGER_DOMAINS
from vispec.plan.guides import point_name
from vispec.plan.make import chain_of, guide_law
from vispec.plan.plan import Factor, Plan, Step


def emit_factors(w: Writer, plan: Plan) -> dict[str, Density]:
    """Every factor but those inside a sum over joint values, drawing the drawn variables on the way."""
    for name in plan.model.order:
        if name in plan.treatments and plan.treatments[name].kind == "draw" and name not in w.bound:
            draw(w, plan, plan.model.variable[name])
    return {factor.name: emit_factor(w, plan, factor) for factor in plan.factors if factor.name not in w.elsewhere}


def emit_factor(w: Writer, plan: Plan, factor: Factor) -> Density:
    variable = plan.model.variable[factor.variable]
    match factor.kind:
        case "seen":
            return evidence(w, variable)
        case "kl":
            return analytic_kl(w, plan, variable)
        case "ratio":
            return ratio(w, plan, variable)
        case "guide":
            return enumerated_guide(w, plan, variable)
        case "arcs":
            return trees.arcs(w, variable)
        case "norm":
            return trees.log_norm(w, variable)
    if variable.type.domain == "tree":
        return trees.log_prob(w, variable)
    assert factor.law is not None
    value = named(w, variable.name)
    hint = f"log_{identifier(variable.name)}"
    if isinstance(factor.law, Then) and value.enumerates is not None and chain_of(variable):
        first, *others = factor.law.laws
        return Chained(
            dense(w, density(w, variable, value, first, f"{hint}_first")),
            dense(w, density(w, variable, value, others[-1], hint)),
        )
    found = density(w, variable, value, factor.law, hint)
    if plan.treatments[variable.name].kind == "masked":
        return where_seen(w, variable, dense(w, found))
    return found


def where_seen(w: Writer, variable: Variable, log: Value) -> Value:
    """A partial leaf's log-density, 0 where its cell is missing."""
    seen = observed(w, variable)
    axes = union((log, seen), w.order)
    return w.let(f"log_{identifier(variable.name)}", f"torch.where({align(seen, axes)}, {align(log, axes)}, 0.0)", axes)


def observed(w: Writer, variable: Variable) -> Value:
    """Which cells of a partial variable the data has."""
    return w.let(f"{variable.name}_observed", f'{w.origin}["{variable.name}_observed"]', w.sort(variable.plates))


def evidence(w: Writer, variable: Variable) -> Value:
    """0 for the value in the data and -inf for any other; 0 for all where the cell is missing."""
    data, seen = w.data(variable.name), observed(w, variable)
    values = named(w, variable.name)
    axes = w.sort((*data.axes, variable.name))
    agrees = f"({align(data, axes)} == {values.code}) | ~{align(seen, axes)}"
    return w.let(f"seen_{identifier(variable.name)}", f"torch.where({agrees}, 0.0, -torch.inf)", axes)


def enumerated_guide(w: Writer, plan: Plan, variable: Variable) -> Value:
    """log q of every value; where a partial variable's cell is seen, q is certain of it."""
    law = guide_law(variable.name, plan.model)
    assert law is not None
    log_q = dense(w, density(w, variable, named(w, variable.name), law, f"log_q_{variable.name}"))
    if variable.role != "partial":
        return log_q
    certain, seen = evidence(w, variable), observed(w, variable)
    axes = union((certain, log_q), w.order)
    code = f"torch.where({align(seen, axes)}, {align(certain, axes)}, {align(log_q, axes)})"
    return w.let(f"log_q_{variable.name}", code, axes)


# ---- draws


def draw(w: Writer, plan: Plan, variable: Variable) -> None:
    """Sample a variable from its guide, or from its own law, by reparameterisation; it is bound in the writer."""
    if is_point(plan, variable.name):
        name = point_name(variable, plan.model)
        w.bound[variable.name] = to_value(w, parameter(w, name), variable.type.domain)
        return
    law = guide_law(variable.name, plan.model) or variable.law
    assert isinstance(law, Draw)
    entry = distributions()[law.distribution]
    params = {name: to_value(w, expression(w, arg), arg.type.domain) for name, arg in law.args}
    rank = len(variable.type.shape)
    axes = w.sort({*variable.plates, *(axis for p in params.values() for axis in p.axes)})
    if is_scored(plan, variable.name):
        w.bound[variable.name] = plain_draw(w, plan, variable, law)
        return
    samples = plan.samples
    shape = full_shape(w, variable, axes, params)
    drawn = replace(Value("", axes, variable.type.shape))
    if entry.name == "Normal":
        loc, scale = (align_or_number(w, params[n], axes, rank) for n in ("loc", "scale"))
        noise = f"torch.randn_like({loc})" if samples == 1 and loc_is_whole(params["loc"], drawn) else None
        noise = noise or f"self.one.new_empty({'' if samples == 1 else f'{samples}, '}{shape}).normal_()"
        code = f"{loc} + {scale} * {noise}"
    else:
        settings = ", ".join(f"{n}={align_or_number(w, p, axes, rank + extra_rank(entry, n), True)}" for n, p in params.items())
        target = f"torch.distributions.{entry.torch_class}({settings})"
        code = (
            f"{target}.expand(({shape_without_event(shape, entry.event_dim)}))"
            if not loc_is_whole(next(iter(params.values())), drawn)
            else target
        )
        code += f".rsample(({samples},))" if samples > 1 and "s" not in axes else ".rsample()"
    w.bound[variable.name] = w.let(
        variable.name, code, (("s", *(a for a in axes if a != "s")) if samples > 1 else axes), variable.type.shape
    )


def is_scored(plan: Plan, name: str) -> bool:
    """Whether a latent's gradient is the score function's, so that its draws carry none."""
    estimator = plan.treatments[name].estimator
    return estimator is not None and estimator.name == "score"


def plain_draw(w: Writer, plan: Plan, variable: Variable, law: Draw) -> Value:
    """A draw without a gradient, of any type, one for each of the plan's samples."""
    entry = distributions()[law.distribution]
    params = {name: expression(w, arg) for name, arg in law.args}
    types = {name: arg.type for name, arg in law.args}
    axes = w.sort({*variable.plates, *(axis for p in params.values() for axis in p.axes)})
    settings = []
    for name, value in params.items():
        logits = value.form in {"log": ("logits", "log"), "logit": ("logit",)}.get(entry.forms.get(name, "value"), ())
        value = value if logits else to_value(w, value, types[name].domain)
        rank = len(variable.type.shape) + extra_rank(entry, name)
        settings.append(f"{'logits' if logits else name}={align_or_number(w, value, axes, rank, True)}")
    sizes = [w.axis_size(a) for a in axes if a != "s"] + [w.dim(d) for d in variable.type.shape]
    if "s" in axes:
        sizes.insert(0, str(plan.samples))
    shape = shape_without_event(", ".join(sizes), entry.event_dim)
    many = f"({plan.samples},)" if plan.samples > 1 and "s" not in axes else ""
    code = f"torch.distributions.{entry.torch_class}({', '.join(settings)}).expand(({shape})).sample({many})"
    integer = variable.type.domain in INTEGER_DOMAINS
    drawn = ("s", *(a for a in axes if a != "s")) if plan.samples > 1 else axes
    return w.let(variable.name, code, drawn, variable.type.shape, integer=integer)


def log_q_of_scored(w: Writer, plan: Plan) -> Value | None:
    """log q of all draws that carry no gradient, summed to one number a row and sample."""
    parts: list[Value] = []
    for name in plan.model.order:
        if name in plan.treatments and plan.treatments[name].kind == "draw" and is_scored(plan, name):
            variable = plan.model.variable[name]
            law = guide_law(name, plan.model) or variable.law
            assert law is not None
            value = dense(w, density(w, variable, w.bound[name], law, f"log_q_{name}"))
            plates = tuple(axis for axis in value.axes if axis not in ("s", plan.data_plate))
            if plates:
                step = Step((f"q_{name}",), f"q_{name}", (), (), "product", plates, "")
                value = steps()["product"].emit(w, step, {f"q_{name}": value}, False)
            parts.append(value)
    return add(w, parts, "log_q") if parts else None


def is_point(plan: Plan, name: str) -> bool:
    """Whether a latent is held at a point estimate."""
    estimator = plan.treatments[name].estimator
    return estimator is not None and estimator.name == "map"


def shape_without_event(shape: str, event_dim: int) -> str:
    parts = shape.split(", ")
    return ", ".join(parts[: len(parts) - event_dim]) + ","


def loc_is_whole(param: Value, drawn: Value) -> bool:
    """Whether a parameter already has every axis and event dimension of the draw."""
    return param.axes == drawn.axes and len(param.event) == len(drawn.event)


def align_or_number(w: Writer, value: Value, axes: Sequence[str], rank: int, as_tensor: bool = False) -> str:
    if value.scalar:
        return tensor(w, value) if as_tensor else value.code
    return align(value, axes, rank)


def full_shape(w: Writer, variable: Variable, axes: Sequence[str], params: Mapping[str, Value]) -> str:
    sizes = [w.axis_size(axis) for axis in axes if axis != "s"] + [w.dim(d) for d in variable.type.shape]
    return ", ".join(sizes)


def analytic_kl(w: Writer, plan: Plan, variable: Variable) -> Value:
    """-KL(q ‖ p), summed over event dimensions."""
    guide, law = guide_law(variable.name, plan.model), variable.law
    assert isinstance(guide, Draw)
    assert isinstance(law, Draw)
    value = kl_code(w, variable, guide, law)
    weight = "self.kl_weight * " if any(getattr(e, "what", None) == "kl" for e in plan.model.fit) else ""
    return w.let(f"minus_kl_{variable.name}", f"-{weight}{value.code}", value.axes)


def ratio(w: Writer, plan: Plan, variable: Variable) -> Value:
    """log p(z) − log q(z) at the draw; nothing where it is drawn from its own law."""
    guide = guide_law(variable.name, plan.model)
    if guide is None and not is_point(plan, variable.name):
        return Value("0.0", scalar=True)
    value = w.bound[variable.name]
    assert variable.law is not None
    prior = dense(w, density(w, variable, value, variable.law, f"log_p_{variable.name}"))
    if guide is None:
        return prior
    q = dense(w, density(w, variable, value, guide, f"log_q_{variable.name}"))
    axes = union((prior, q), w.order)
    return w.let(f"log_ratio_{variable.name}", f"{align(prior, axes)} - {align(q, axes)}", axes)


# ---- steps


def emit_steps(w: Writer, plan: Plan, found: Mapping[str, Density], query: bool) -> Value:
    """Run the plan's steps; the result has the data plate, and the samples where there are several."""
    total = run_steps(w, plan.steps, found, query)["total"]
    assert isinstance(total, Value)
    axes = tuple(axis for axis in total.axes if axis != "s")
    if not query and (log_q := log_q_of_scored(w, plan)) is not None:
        function = w.needs.kernel("vispec.kernels.score", f"score_bound_{plan.baseline}")
        several = "s" in total.axes
        codes = [v.code if several else f"{v.code}.unsqueeze(0)" for v in (total, log_q)]
        extra = ", self.baseline, self.training" if plan.baseline == "mean" else ""
        return w.let("bound", f"{function}({', '.join(codes)}{extra})", axes)
    if "s" not in total.axes:
        return total
    if plan.combine == "elbo":
        return w.let("bound", f"{total.code}.mean(0)", axes)
    return w.let("bound", f"torch.logsumexp({total.code}, 0) - (self.one * {plan.samples}).log()", axes)


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


def flat_values(found: Mapping[str, Density]) -> list[Value]:
    """All tensors of the factors, in order."""
    out: list[Value] = []
    for density_ in found.values():
        match density_:
            case Value():
                out.append(density_)
            case Table(const=const, weight=weight, statistics=statistics):
                out += [const, weight, statistics]
            case Chained(first=first, rest=rest):
                out += [first, rest]
    return [value for value in out if not value.scalar]
