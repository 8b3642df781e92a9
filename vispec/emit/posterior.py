"""Posterior queries: the same steps under another algebra, and each latent's answer is the gradient of its tilt."""

from dataclasses import replace

from vispec.emit.expressions import expression, tensor, to_value
from vispec.emit.factors import emit_factors, emit_steps
from vispec.emit.methods import bound_factors, writer
from vispec.emit.value import Value, align
from vispec.emit.writer import ModuleNeeds, Writer
from vispec.model.model import Draw, Variable
from vispec.plan.axes import Scope, element_plates
from vispec.plan.make import guide_law, make_plan
from vispec.plan.plan import Plan


def posterior_methods(trained: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """`tilted` and `posterior`; where log_prob leaves finite variables out, they are enumerated here."""
    left_out = any(t.kind in ("masked", "free") for t in trained.treatments.values())
    plan = make_plan(trained.model, complete=True) if left_out else trained
    shared = plan.scope.enumerated == trained.scope.enumerated and not plan.scope.joint and not plan.inline
    summed = [v for v in plan.model.variables if v.name in plan.scope.enumerated]
    guided = [name for name in plan.drawing_order if isinstance(guide_law(name, plan.model), Draw)]
    drawn = [plan.model.variable[name] for name in guided]
    if not summed and not drawn:
        return []
    methods = [tilted_method(plan, needs, shared)] if summed else []
    return [*methods, posterior_method(plan, needs, summed, drawn)]


def tilted_method(plan: Plan, needs: ModuleNeeds, shared: bool) -> list[str]:
    w = writer(plan, needs)
    if shared:
        bound, left = bound_factors(w, plan)
        w.line(f"{left} = self.factors(batch)")
    else:
        bound = emit_factors(w, plan)
    result = emit_steps(w, plan, bound, query=True)
    lines = w.body(result.code)
    doc = (
        "log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."
    )
    head = "def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:"
    return [head, f'    """{doc}"""', *(f"    {line}" for line in (*lines, f"return {result.code}"))]


def posterior_method(plan: Plan, needs: ModuleNeeds, summed: list[Variable], drawn: list[Variable]) -> list[str]:
    head = 'def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:'
    w = writer(plan, needs)
    found, asking = "{}", ""
    if summed:
        found = w.fresh("found")
        shapes = {v.name: [w.axis_size(a) for a in (*element_plates(v), v.name)] for v in summed}
        zeros = ", ".join(f'"{name}": self.one.new_zeros({", ".join(shape)})' for name, shape in shapes.items())
        inside = {v.name: code for v in summed if (code := elements_that_count(w, v)) is not None}
        masks = "{" + ", ".join(f'"{name}": {code}' for name, code in inside.items()) + "}"
        tilt = w.let("zeros", f"{{{zeros}}}").code
        rest = f"{tilt}, {masks}{', False' if plan.samples > 1 else ''}"
        asking = f"{needs.kernel('vispec.kernels.queries', 'ask')}(self.tilted, batch, %s, {rest})"
        w.line(f"{found} = {asking % 'query'}")
    guides = guide_lines(plan, needs, w, drawn, summed, found, asking)
    lines = [line for line in w.body(" ".join([found, *guides.values()]))]
    result = (
        found
        if not guides
        else "{" + (f"**{found}, " if summed else "") + ", ".join(f'"{n}": {c}' for n, c in guides.items()) + "}"
    )
    doc = [
        '"""Exact posteriors of the summed latents, and the guides of the drawn ones.',
        "",
        'query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;',
        '"sample", a draw; "entropy", in nats, of each value and of all together.',
        *(f"{v.name}: {v.type}, ({', '.join(element_plates(v))})." for v in (*summed, *drawn)),
        '"""',
    ]
    body = [*doc, *lines, f"return {result}"]
    return ["@torch.no_grad()", head, *(f"    {line}" for line in body)]


def elements_that_count(w: Writer, variable: Variable) -> str | None:
    """Which elements a latent has in each row, as text; None where in all rows all of them."""
    plates = w.sort(element_plates(variable))
    masks = [w.inside(plate) for plate in plates if w.model.plate[plate].ragged]
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
    found: dict[str, str] = {}
    for variable in drawn:
        law = guide_law(variable.name, plan.model)
        assert isinstance(law, Draw)
        params = {name: to_value(w, expression(w, arg), arg.type.domain) for name, arg in law.args}
        axes = w.sort(variable.plates)
        codes = {n: tensor(w, v) if v.scalar else align(v, axes) for n, v in params.items()}
        found[variable.name] = "{" + ", ".join(f'"{n}": {c}' for n, c in codes.items()) + "}"
        first = next(iter(params.values()))
        w.bound[variable.name] = replace(first, event=variable.type.shape)
    w.scope = outer
    return found


def reads(plan: Plan, variable: Variable, name: str) -> bool:
    from vispec.plan.axes import law_parts, walk

    law = guide_law(variable.name, plan.model)
    return law is not None and any(getattr(e, "name", None) == name for part in law_parts(law) for e in walk(part))
