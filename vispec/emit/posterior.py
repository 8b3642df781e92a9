"""Posterior queries: the same steps under another algebra, and each latent's answer is the gradient of its tilt."""

from dataclasses import replace

from vispec.catalog import distributions
from vispec.emit.draws.combine import combine
from vispec.emit.draws.joint_guide import draw_jointly
from vispec.emit.factors import emit_factors, emit_steps, run_steps
from vispec.emit.laws.carried import carry_to_ends
from vispec.emit.laws.expressions import expression, plain
from vispec.emit.laws.flow import carry
from vispec.emit.laws.forms import tensor, to_value
from vispec.emit.laws.joins import tilt
from vispec.emit.methods import writer
from vispec.emit.value import Value, align, paren
from vispec.emit.writer import ModuleNeeds, Writer
from vispec.model.model import Draw, Flow, Variable
from vispec.plan.axes import Scope, element_plates, past
from vispec.plan.make import make_plan
from vispec.plan.plan import Plan, Step
from vispec.plan.treat import chain_of, guide_law


def posterior_methods(trained: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """`tilted` and `posterior`; where log_prob leaves finite variables out, they are enumerated here."""
    plan, summed = complete(trained)
    guided = [name for name in plan.drawing_order if isinstance(guide_law(name, plan.model), Draw | Flow)]
    drawn = [plan.model.variable[name] for name in guided]
    if not summed and not any(has_parameters(plan, variable) for variable in drawn):
        return []
    chained = [v for v in summed if chain_of(v, plan.model) and not any(guide.name == v.name for guide in plan.model.guide)]
    methods = [tilted_method(plan, needs)] if summed else []
    if chained:
        methods.append(pairs_method(plan, needs, chained))
    if summed and plan.combine == "exact":
        needs.sums = tuple(sum_of(step) for step in plan.steps if step.kind in ("sum", "chain", "tree"))
    return [*methods, posterior_method(plan, needs, summed, drawn, chained)]


def complete(trained: Plan) -> tuple[Plan, list[Variable]]:
    """A plan that sums out every finite latent and partial variable, and these variables."""
    left_out = any(t.kind in ("masked", "free") for t in trained.treatments.values())
    plan = make_plan(trained.model, complete=True) if left_out else trained
    return plan, [v for v in plan.model.variables if v.name in plan.scope.enumerated]


def has_parameters(plan: Plan, variable: Variable) -> bool:
    """Whether a guide is told by its parameters; a flow is told by its draws."""
    return isinstance(guide_law(variable.name, plan.model), Draw)


def sum_of(step: Step) -> str:
    """What a step sums out and where, in words; two models that agree in all of theirs have posteriors that factorise alike."""
    where = "".join(f" {word} {', '.join(axes)}" for word, axes in (("in", step.plates), ("given", step.latents)) if axes)
    return f"{step.kind} {', '.join(step.eliminated)}{where}"


def tilted_method(plan: Plan, needs: ModuleNeeds) -> list[str]:
    w = writer(plan, needs)
    result = emit_steps(w, plan, emit_factors(w, plan), query=True)
    lines = w.body(result.code)
    doc = (
        "log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."
    )
    head = "def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:"
    return [head, f'    """{doc}"""', *(f"    {line}" for line in (*lines, f"return {result.code}"))]


def pairs_method(plan: Plan, needs: ModuleNeeds, chained: list[Variable]) -> list[str]:
    """The plan with one more factor for each chain, 0 for each pair of neighbours."""
    w = writer(plan, needs)
    found = emit_factors(w, plan)
    for variable in chained:
        name = variable.name
        found[f"pairs_{name}"] = tilt(w, name, past(name))
    names = {v.name for v in chained}
    more = {s.output: tuple(f"pairs_{name}" for name in s.eliminated if name in names) for s in plan.steps if s.kind == "chain"}
    steps = tuple(replace(step, inputs=(*step.inputs, *more.get(step.output, ()))) for step in plan.steps)
    total = run_steps(w, steps, found, query=False)["total"]
    assert isinstance(total, Value)
    result = combine(w, plan, total, query=True)
    doc = "log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."
    head = "def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:"
    lines = (f'"""{doc}"""', *w.body(result.code), f"return {result.code}")
    return [head, *(f"    {line}" for line in lines)]


def posterior_method(
    plan: Plan, needs: ModuleNeeds, summed: list[Variable], drawn: list[Variable], chained: list[Variable]
) -> list[str]:
    more = ", other: nn.Module | None = None" if needs.sums else ""
    head = f'def posterior(self, batch: dict[str, Tensor], query: str = "marginals"{more}) -> dict:'
    w = writer(plan, needs)
    found, asking = "{}", ""
    if chained:
        w.lines += pairs_lines(w, needs, chained)
    if summed:
        found = w.fresh("found")
        shapes = {v.name: [w.axis_size(a) for a in (*element_plates(v), v.name)] for v in summed}
        zeros = ", ".join(f'"{name}": self.one.new_zeros({", ".join(shape)})' for name, shape in shapes.items())
        inside = {v.name: code for v in summed if (code := elements_that_count(w, v)) is not None}
        masks = "{" + ", ".join(f'"{name}": {code}' for name, code in inside.items()) + "}"
        zeros_of_all = w.let("zeros", f"{{{zeros}}}").code
        rest = f"{zeros_of_all}, {masks}{', False' if plan.samples > 1 else ''}{', other=other' if needs.sums else ''}"
        asking = f"{needs.kernel('vispec.kernels.queries', 'ask')}(self, batch, %s, {rest})"
        w.line(f"{found} = {asking % 'query'}")
    guides = guide_lines(plan, needs, w, drawn, summed, found, asking)
    lines = [line for line in w.body(" ".join([found, *guides.values()]))]
    result = (
        found
        if not guides
        else "{" + (f"**{found}, " if summed else "") + ", ".join(f'"{n}": {c}' for n, c in guides.items()) + "}"
    )
    told = [variable for variable in drawn if has_parameters(plan, variable)]
    doc = [
        '"""Exact posteriors of the summed latents, and the guides of the drawn ones.',
        "",
        'query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;',
        '"sample", a draw; "entropy", in nats, of each value and of all together'
        + ('; "kl", the divergence from that of `other`.' if needs.sums else "."),
        *(['"pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.'] if chained else []),
        *(f"{v.name}: {v.type}, ({', '.join(element_plates(v))})." for v in (*summed, *told)),
        '"""',
    ]
    body = [*doc, *lines, f"return {result}"]
    return ["@torch.no_grad()", head, *(f"    {line}" for line in body)]


def pairs_lines(w: Writer, needs: ModuleNeeds, chained: list[Variable]) -> list[str]:
    """The query "pairs", which returns at once."""
    function = needs.kernel("vispec.kernels.queries", "pairs")
    shapes = {v.name: ", ".join(w.axis_size(a) for a in (*v.plates, v.name, v.name)) for v in chained}
    zeros = ", ".join(f'"{name}": self.one.new_zeros({shape})' for name, shape in shapes.items())
    along = ", ".join(f'"{v.name}": {v.plates.index(str(chain_of(v, w.model)))}' for v in chained)
    return [
        'if query == "pairs":',
        f"    return {function}(self.tilted_pairs, batch, {{{zeros}}}, {{{along}}})",
    ]


def elements_that_count(w: Writer, variable: Variable) -> str | None:
    """Which elements a latent has in each row, as text; None where in all rows all of them."""
    plates = element_plates(variable)
    masks = [w.nested(variable, w.inside(plate)) for plate in plates if w.model.plate[plate].ragged]
    return " & ".join(align(mask, plates) for mask in masks) or None


def guide_lines(
    plan: Plan, needs: ModuleNeeds, w: Writer, drawn: list[Variable], summed: list[Variable], found_name: str, asking: str
) -> dict[str, str]:
    """The parameters of each continuous latent's guide; what it reads is at its mode or location."""
    outer = w.scope
    w.scope = Scope(plan.model, frozenset(), outer.drawn)
    for variable in summed:
        seen = w.sort(variable.plates)
        mode = asking % '"mode"' if asking else ""
        code = f'({found_name} if query in ("mode", "sample") else {mode})["{variable.name}"]'
        w.bound[variable.name] = Value(f"{variable.name}_mode", seen, integer=True)
        if any(reads(plan, v, variable.name) for v in drawn):
            w.line(f"{variable.name}_mode = {code}")
    if plan.model.joint is not None:
        draw_jointly(w, plan, None, centre=True)
    found: dict[str, str] = {}
    for variable in drawn:
        law = guide_law(variable.name, plan.model)
        if isinstance(law, Flow):
            w.bound[variable.name] = centre(w, variable, law)
            continue
        assert isinstance(law, Draw)
        params = {name: to_value(w, expression(w, arg), arg.type.domain) for name, arg in law.args}
        axes = w.sort(variable.plates)
        codes = {n: nested(w, for_each_element(w, v, variable, axes), v, variable, axes) for n, v in params.items()}
        found[variable.name] = "{" + ", ".join(f'"{n}": {c}' for n, c in codes.items()) + "}"
        first = replace(next(iter(params.values())), event=variable.type.shape)
        if distributions()[law.distribution].carry is not None:
            first = carry_to_ends(w, variable.name, variable, law, first, list(params.values())[2:])
        w.bound[variable.name] = first
    w.scope = outer
    return found


def nested(w: Writer, code: str, value: Value, variable: Variable, axes: tuple[str, ...]) -> str:
    """A parameter of all elements, with the plates as they are nested."""
    event = value.event or variable.type.shape
    return code if axes == variable.plates else w.nested(variable, Value(paren(code), axes, event)).code


def centre(w: Writer, variable: Variable, law: Flow) -> Value:
    """What the layers make of the base's location, for what reads the latent."""
    axes = w.sort(variable.plates)
    loc = for_each_element(w, plain(w, dict(law.base.args)["loc"]), variable, axes)
    return carry(w, variable, law, w.let(f"{variable.name}_base", loc, axes, variable.type.shape))


def for_each_element(w: Writer, value: Value, variable: Variable, axes: tuple[str, ...]) -> str:
    """A parameter with all of the variable's plates, also where the guide gives one value for all of its elements."""
    if value.axes == axes and (value.event or not variable.type.shape):
        return value.code
    sizes = [w.plate_size(axis) for axis in axes]
    if value.event:
        return f"{paren(align(value, axes))}.expand({', '.join([*sizes, *['-1'] * len(value.event)])})"
    event = [w.dim(dim) for dim in variable.type.shape]
    code = tensor(w, value) if value.scalar else align(value, axes, len(event))
    return f"{paren(code)}.expand({', '.join([*sizes, *event])})"


def reads(plan: Plan, variable: Variable, name: str) -> bool:
    from vispec.model.walk import law_parts, walk

    law = guide_law(variable.name, plan.model)
    return law is not None and any(getattr(e, "name", None) == name for part in law_parts(law) for e in walk(part))
