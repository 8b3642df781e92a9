"""Draws of latents, each by the gradient that its estimator asks for, and what a draw adds to the log-weight of its sample."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from vispec.catalog import Distribution, distributions
from vispec.emit.draws.chain import draw_along
from vispec.emit.draws.joint_guide import draw_jointly
from vispec.emit.laws.carried import base_law, carry_to_ends, log_of_carried
from vispec.emit.laws.densities import by_position, composed_draw, dense, density, extra_rank, spread
from vispec.emit.laws.expressions import expression, plain
from vispec.emit.laws.flow import carry, log_of_flow
from vispec.emit.laws.forms import tensor, to_form, to_value
from vispec.emit.laws.kl import kl_code
from vispec.emit.value import Value, align, base_of, paren, union
from vispec.emit.writer import Writer, identifier
from vispec.model.model import Apply, Const, Draw, Expression, Flow, Law, Variable
from vispec.model.types import INTEGER_DOMAINS
from vispec.model.walk import law_parts
from vispec.plan.axes import SAMPLES, key
from vispec.plan.estimate import drawn_together, source_of
from vispec.plan.guides import in_joint, point_of
from vispec.plan.make import closed_pairs
from vispec.plan.plan import Plan
from vispec.plan.treat import guide_law

RELAXED = "vispec.kernels.draws.relaxed"


def draw_all(w: Writer, plan: Plan, names: Iterable[str]) -> None:
    """Draw the drawn variables in order; each is bound in the writer."""
    for name in names:
        group = drawn_together(name, plan.drawing_order, plan.model)
        if name not in w.bound and group:
            variables = [plan.model.variable[each] for each in group]
            chain = next(p for p in reversed(variables[0].plates) if plan.model.plate[p].kind == "chain")
            draw_along(w, variables, chain, lambda inner, variable, law: sample(inner, plan, variable, law))
        elif name not in w.bound:
            draw(w, plan, plan.model.variable[name])


def draw(w: Writer, plan: Plan, variable: Variable) -> None:
    """One variable: its point estimate, or a sample from its guide, or from its own law where it has none."""
    name = variable.name
    gradient = plan.treatments[name].gradient
    if in_joint(name, plan.model):
        if name not in w.bound:
            draw_jointly(w, plan, count(plan, name))
        return
    if gradient == "point":
        point = point_of(variable, plan.model)
        found = to_value(w, expression(w, point), point.type.domain)
        computed = isinstance(point, Apply)  # not the parameter itself
        w.bound[name] = w.let(identifier(name), found.code, found.axes, variable.type.shape) if computed else found
        return
    law = source_of(name, plan.model)
    assert isinstance(law, Draw | Flow)
    w.bound[name] = flow_draw(w, plan, variable, law) if isinstance(law, Flow) else sample(w, plan, variable, law)


def sample(w: Writer, plan: Plan, variable: Variable, law: Draw) -> Value:
    """A draw of the variable from a law, or inside a chain's loop of its present element."""
    found = DRAWS.get(plan.treatments[variable.name].gradient, smooth_draw)(w, plan, variable, law)
    return where_missing(w, variable, found) if variable.role == "partial" else found


def where_missing(w: Writer, variable: Variable, drawn: Value) -> Value:
    """The data's own value where a partial variable has one."""
    seen, data = w.element(w.observed(variable.name)), w.element(w.data(variable.name))
    mask = align(seen, drawn.axes) + "[..., None]" * len(drawn.event)
    code = f"torch.where({mask}, {align(data, drawn.axes)}, {drawn.code})"
    return w.let(variable.name, code, drawn.axes, drawn.event, integer=drawn.integer)


def count(plan: Plan, name: str) -> str | None:
    """How many samples a variable has, as text; None where it has no axis for them."""
    return plan.sample_count if SAMPLES in plan.scope.drawn[name] else None


def drawn_axes(w: Writer, plan: Plan, variable: Variable, params: Iterable[Value]) -> tuple[str, ...]:
    """The axes of a draw: its plates, those of its law's parameters, and the samples."""
    many = {SAMPLES} if count(plan, variable.name) else set()
    return w.sort({*variable.plates, *(axis for p in params for axis in p.axes), *many} - set(w.at))


def sizes_of(w: Writer, plan: Plan, variable: Variable, axes: Iterable[str]) -> list[str]:
    return [plan.sample_count if a == SAMPLES else w.axis_size(a) for a in axes] + [w.dim(d) for d in variable.type.shape]


def hint(w: Writer, variable: Variable) -> str:
    """What a draw is called: inside a chain's loop it is one element's."""
    return f"{variable.name}_now" if w.at else variable.name


def flow_draw(w: Writer, plan: Plan, variable: Variable, law: Flow) -> Value:
    """A draw of the base, carried through the layers."""
    beside = () if law.context is None else (plain(w, law.context),)
    return carry(w, variable, law, smooth_draw(w, plan, variable, law.base, f"{variable.name}_base", beside))


def smooth_draw(
    w: Writer, plan: Plan, variable: Variable, law: Draw, name: str | None = None, beside: Sequence[Value] = ()
) -> Value:
    """A reparameterised draw, under its variable's name or another, with the axes of what stands beside it too."""
    entry = distributions()[law.distribution]
    if entry.carry is not None:
        return carried_draw(w, plan, variable, law, beside)
    params = {name: to_value(w, expression(w, arg), arg.type.domain) for name, arg in law.args}
    params = {name: spread(w, variable, entry, name, value) for name, value in params.items()}
    rank = len(variable.type.shape)
    axes = drawn_axes(w, plan, variable, (*params.values(), *beside))
    shape = sizes_of(w, plan, variable, axes)
    if entry.name == "Normal":
        loc, scale = (align_or_number(w, params[n], axes, rank) for n in ("loc", "scale"))
        whole = not params["loc"].scalar and params["loc"].axes == axes and len(params["loc"].event) == rank
        noise = f"torch.randn_like({loc})" if whole else f"self.one.new_empty({', '.join(shape) or '()'}).normal_()"
        code = f"{loc} + {scale} * {noise}"
    elif entry.torch_class is None:
        code = own_draw(w, entry, params, axes, rank, shape)
    else:
        code = f"{torch_law(w, entry, params, axes, rank, shape)}.rsample()"
    drawn = w.draw(name or hint(w, variable), code, axes, variable.type.shape)
    return weighed(w, plan, variable, drawn)


def weighed(w: Writer, plan: Plan, variable: Variable, drawn: Value) -> Value:
    """A draw whose gradient is weighed by its sample's share, where the estimator asks for that."""
    axes = drawn.axes
    if plan.treatments[variable.name].gradient == "dreg" and SAMPLES in axes:
        function = w.needs.kernel("vispec.kernels.draws.reparameterised", "WeighedByShare")
        shares = w.let("shares", "[]")
        return w.let(hint(w, variable), f"{function}.apply({drawn.code}, {shares.code})", axes, variable.type.shape)
    return drawn


def carried_draw(w: Writer, plan: Plan, variable: Variable, law: Draw, beside: Sequence[Value]) -> Value:
    """A draw of a Normal carried to where the law has its values; base and gain are kept, to score it."""
    ends = [to_value(w, expression(w, arg), arg.type.domain) for _, arg in law.args[2:]]
    base = smooth_draw(w, plan, variable, base_law(law), f"{variable.name}_base", (*ends, *beside))
    return carry_to_ends(w, hint(w, variable), variable, law, base, ends)


def own_draw(
    w: Writer, entry: Distribution, params: Mapping[str, Value], axes: Sequence[str], rank: int, shape: Sequence[str]
) -> str:
    """A draw by the entry's own function, of parameters that all have the whole shape."""
    assert entry.sampler is not None
    function = w.needs.kernel(str(entry.sampler.__module__), entry.sampler.__name__)
    codes: list[str] = []
    for name, value in params.items():
        code = align_or_number(w, value, axes, rank + extra_rank(entry, name), True)
        own = ["-1"] * entry.param_event_dim.get(name, entry.event_dim)
        whole = value.axes == tuple(axes) and len(value.event) == rank + extra_rank(entry, name)
        codes.append(code if whole else f"{paren(code)}.expand({', '.join([*shape[: len(shape) - entry.event_dim], *own])})")
    return f"{function}({', '.join(codes)})"


def torch_law(
    w: Writer, entry: Distribution, params: Mapping[str, Value], axes: Sequence[str], rank: int, shape: Sequence[str]
) -> str:
    """A distribution of torch whose one draw has the whole shape."""
    settings = ", ".join(f"{n}={align_or_number(w, p, axes, rank + extra_rank(entry, n), True)}" for n, p in params.items())
    batch = ", ".join(shape[: len(shape) - entry.event_dim])
    target = f"torch.distributions.{entry.torch_class}({settings})"
    first = next(iter(params.values()), None)
    if first is not None and first.axes == axes and len(first.event) == rank + extra_rank(entry, next(iter(params))):
        return target
    return f"{target}.expand(({batch}{',' if batch else ''}))"


def plain_draw(w: Writer, plan: Plan, variable: Variable, law: Draw) -> Value:
    """A draw without a gradient, of any type."""
    entry = distributions()[law.distribution]
    if not law.args and entry.optional:
        return uniform_draw(w, plan, variable)
    if entry.modifier is not None:
        values = [expression(w, arg) for _, arg in law.args]
        axes, rank = drawn_axes(w, plan, variable, values), len(variable.type.shape)
        code = composed_draw(w, law, entry, axes, rank, sizes_of(w, plan, variable, axes))
        return w.draw(hint(w, variable), code, axes, variable.type.shape)
    if entry.torch_class is None:
        found = {name: to_value(w, expression(w, arg), arg.type.domain) for name, arg in law.args}
        axes = drawn_axes(w, plan, variable, found.values())
        code = own_draw(w, entry, found, axes, len(variable.type.shape), sizes_of(w, plan, variable, axes))
        return w.draw(hint(w, variable), f"{code}.detach()", axes, variable.type.shape)
    params: dict[str, Value] = {}
    for name, arg in law.args:
        value = expression(w, arg)
        logits = entry.takes_logits(name, value.form)
        params["logits" if logits else name] = value if logits else to_value(w, value, arg.type.domain)
    axes = drawn_axes(w, plan, variable, params.values())
    shape = sizes_of(w, plan, variable, axes)
    names = dict(zip(params, (name for name, _ in law.args), strict=True))
    rank = len(variable.type.shape)
    settings = ", ".join(
        f"{n}={align_or_number(w, p, axes, rank + extra_rank(entry, names[n]), True)}" for n, p in params.items()
    )
    batch = ", ".join(shape[: len(shape) - entry.event_dim])
    code = f"torch.distributions.{entry.torch_class}({settings}).expand(({batch}{',' if batch else ''})).sample()"
    integer = variable.type.domain in INTEGER_DOMAINS
    return w.draw(hint(w, variable), code, axes, variable.type.shape, integer=integer)


def uniform_draw(w: Writer, plan: Plan, variable: Variable) -> Value:
    """Any value of a finite type, each as likely."""
    axes = drawn_axes(w, plan, variable, ())
    return uniform(w, variable, axes, sizes_of(w, plan, variable, axes), hint(w, variable))


def uniform(w: Writer, variable: Variable, axes: tuple[str, ...], shape: Sequence[str], hint: str) -> Value:
    """Any value of a finite type; along a ragged plate, any of its elements."""
    size = ", ".join(shape)
    type_ = variable.type
    if type_.domain == "bit":
        return w.draw(hint, f"torch.randint(2, ({size},), device=self.one.device).to(self.one.dtype)", axes, type_.shape)
    plate = w.model.plate[type_.plate] if type_.plate else None
    if plate is not None and plate.ragged:
        lengths = align(w.element(w.lengths(plate.name)), axes)
        return w.draw(hint, f"(torch.rand({size}, device=self.one.device) * {lengths}).long()", axes, integer=True)
    count = w.plate_size(plate.name) if plate is not None else w.dim(type_.card or 1)
    return w.draw(hint, f"torch.randint({count}, ({size},), device=self.one.device)", axes, type_.shape, integer=True)


def relaxed_draw(w: Writer, plan: Plan, variable: Variable, law: Draw) -> Value:
    """A bit in (0, 1), or a category as weights of its values along an event dimension."""
    estimator = plan.treatments[variable.name].estimator
    settings = dict(estimator.settings) if estimator else {}
    bit = variable.type.domain == "bit"
    probs = expression(w, dict(law.args)["probs"])
    if bit:
        probs = to_form(w, probs, "unit", "logit")
    elif probs.form != "logits":
        probs = to_form(w, probs, "simplex", "log")
    axes = drawn_axes(w, plan, variable, [probs])
    event = variable.type.shape if bit else (variable.type.card or w.model.plate[str(variable.type.plate)].name,)
    values = [] if bit else [w.dim(variable.type.card) if variable.type.card is not None else w.axis_size(variable.name)]
    shape = [*sizes_of(w, plan, variable, axes), *values]
    code = align_or_number(w, probs, axes, len(event), True)
    if probs.axes != axes or len(probs.event) != len(event):
        code = f"{code}.expand({', '.join(shape)})"
    function = w.needs.kernel(RELAXED, "relaxed_bit" if bit else "relaxed_one_hot")
    warm = "self.temperature" if temperature_moves(plan) else settings.get("temperature", 0.5)
    flags = f"{warm}, {bool(settings.get('straight_through', False))}, self.training"
    return w.draw(hint(w, variable), f"{function}({code}, {flags})", axes, event)


def temperature_moves(plan: Plan) -> bool:
    return any(getattr(entry, "what", None) == "temperature" for entry in plan.model.fit)


def stratified_draw(w: Writer, plan: Plan, variable: Variable, law: Draw) -> Value:
    """The likely values and draws of the rest, along the sample axis; their weights are bound beside them."""
    estimator = plan.treatments[variable.name].estimator
    assert estimator is not None
    settings = dict(estimator.settings)
    samples, top = settings.get("samples", 1), settings.get("top", 1)
    bit = variable.type.domain == "bit"
    probs = expression(w, dict(law.args)["probs"])
    if bit:
        logit = to_form(w, probs, "unit", "logit").code
        code = f"torch.stack([F.logsigmoid(-{logit}), F.logsigmoid({logit})], -1)"
        log_q = w.let(f"log_q_of_{variable.name}", code, probs.axes, (2,))
    else:
        log_q = to_form(w, probs, "simplex", "log")
    if not log_q.axes:
        data = w.plate_size(plan.data_plate)
        log_q = w.let(f"log_q_of_{variable.name}", f"{log_q.code}.expand({data}, -1)", (plan.data_plate,), log_q.event)
    function = w.needs.kernel("vispec.kernels.draws.stratified", "top_and_draws")
    values, weight = Value(w.fresh(hint(w, variable))), Value(w.fresh(f"weight_of_{variable.name}"))
    axes = (SAMPLES, plan.data_plate)
    w.line(f"{values.code}, {weight.code} = {function}({log_q.code}, {top}, {samples})  # ({', '.join(axes)})")
    w.bound["weight of samples"] = Value(weight.code, axes)
    if bit:
        return w.let(hint(w, variable), f"{values.code}.to(self.one.dtype)", axes)
    return Value(values.code, axes, integer=True)


DRAWS: dict[str, Callable[[Writer, Plan, Variable, Draw], Value]] = {
    "score": plain_draw,
    "relaxed": relaxed_draw,
    "stratified": stratified_draw,
    "wake_sleep": plain_draw,
}


def align_or_number(w: Writer, value: Value, axes: Sequence[str], rank: int, as_tensor: bool = False) -> str:
    if value.scalar:
        return tensor(w, value) if as_tensor else value.code
    return align(value, axes, rank)


# ---- what a draw adds


def minus_kl(w: Writer, plan: Plan, variable: Variable) -> Value:
    """-KL(q ‖ p), summed over event dimensions; log p where a partial variable is seen."""
    guide, law = w.drawn_by.get(variable.name) or guide_law(variable.name, plan.model), variable.law
    assert guide is not None
    assert law is not None
    pairs = closed_pairs(guide, law)
    parts = [kl_code(w, variable, q, p) for q, p in pairs]
    chain = next((p for p in reversed(variable.plates) if plan.model.plate[p].kind == "chain"), "")
    value = by_position(w, parts, chain, f"kl_{variable.name}") if len(parts) > 1 else parts[0]
    free = next((entry.value for entry in plan.model.fit if entry.key == "free_bits"), None)  # type: ignore[union-attr]
    if free is not None:
        code = f"{value.code}.clamp(min={free}) if self.training else {value.code}"
        value = w.let(f"kl_{variable.name}", code, value.axes)
    minus = replace(value, code=f"-{kl_weight(plan)}{value.code}")
    if variable.role != "partial":
        return minus
    data = w.known(variable.name)
    return either(w, variable, dense(w, density(w, variable, data, law, f"log_p_{variable.name}")), minus)


def kl_weight(plan: Plan) -> str:
    """The factor of an annealed divergence, as text."""
    return "self.kl_weight * " if any(getattr(entry, "what", None) == "kl" for entry in plan.model.fit) else ""


def either(w: Writer, variable: Variable, seen: Value, missing: Value) -> Value:
    """One term where a partial variable's cell is seen, another where it is missing."""
    mask = w.observed(variable.name)
    axes = union((mask, seen, missing), w.order)
    codes = [tensor(w, v) if v.scalar else align(v, axes) for v in (seen, missing)]
    return w.let(f"term_{variable.name}", f"torch.where({align(mask, axes)}, {codes[0]}, {codes[1]})", axes)


def ratio(w: Writer, plan: Plan, variable: Variable) -> Value:
    """log p(z) − log q(z) at the draw; nothing where it is drawn from its own law, log p where it is seen or a point."""
    name = variable.name
    guide = guide_law(name, plan.model)
    gradient = plan.treatments[name].gradient
    value = w.bound[name]
    assert variable.law is not None
    law = variable.law if guide is not None else w.drawn_by.get(name, variable.law)
    prior = dense(w, density(w, variable, value, law, f"log_p_{name}"))
    if gradient == "point":
        return prior
    if in_joint(name, plan.model):
        weight = kl_weight(plan)
        return w.let(f"log_p_{name}", f"{weight}{prior.code}", prior.axes) if weight else prior
    if guide is None:
        return either(w, variable, prior, Value("0.0", scalar=True))
    q = log_of_guide(w, plan, variable, guide, fixed=gradient in ("stl", "dreg"))
    if gradient == "wake_sleep":  # the wake phase teaches the model, not the guide
        q = w.let(f"log_q_{name}", f"{q.code}.detach()", q.axes)
    axes = union((prior, q), w.order)
    prior_code = tensor(w, prior) if prior.scalar else align(prior, axes)
    found = w.let(f"log_ratio_{name}", annealed(plan, prior_code, align(q, axes)), axes)
    return either(w, variable, prior, found) if variable.role == "partial" else found


def annealed(plan: Plan, prior: str, q: str) -> str:
    weight = kl_weight(plan)
    return f"{weight}({prior} - {q})" if weight else f"{prior} - {q}"


def log_of_guide(w: Writer, plan: Plan, variable: Variable, law: Law, fixed: bool = False) -> Value:
    """log q of the draw; `fixed`: with a gradient through the draw alone, not through the guide's parameters."""
    if isinstance(law, Flow):
        return log_of_flow(w, variable, law)
    law = w.drawn_by.get(variable.name, law)
    if not fixed:
        return log_at_draw(w, variable, law)
    kept = {key(arg): hold(w, arg) for arg in law_parts(law)}
    found = log_at_draw(w, variable, law, fixed)
    w.cache |= kept
    function = w.needs.kernel("vispec.kernels.draws.reparameterised", "through_the_draw")
    return w.let(f"log_q_{variable.name}", f"{function}({found.code})", found.axes)


def log_at_draw(w: Writer, variable: Variable, law: Law, fixed: bool = False) -> Value:
    """log q of the draw, by the base's where it was carried here; with fixed ends that are computed, by the value's."""
    moving = isinstance(law, Draw) and fixed and not all(isinstance(end, Const) for _, end in law.args[2:])
    if isinstance(law, Draw) and base_of(variable.name) in w.bound and not moving:
        return log_of_carried(w, variable, base_law(law))
    return dense(w, density(w, variable, w.bound[variable.name], law, f"log_q_{variable.name}"))


def hold(w: Writer, e: Expression) -> Value:
    """Put the expression's value, without its gradient, in its place; returns the value itself."""
    value = expression(w, e)
    if not value.scalar:
        stem = value.code.rsplit(".", 1)[-1]
        held = w.let(f"{stem}_held" if stem.isidentifier() else "held", f"{value.code}.detach()", value.axes, value.event)
        w.cache[key(e)] = Value(held.code, value.axes, value.event, value.form, integer=value.integer)
    return value
