"""What all rows share: latents outside the data plate and the weights of nets that have a prior. Drawn once for a minibatch."""

from vispec.emit.draws.joint_guide import LOG_Q
from vispec.emit.draws.latents import draw, draw_all, kl_weight
from vispec.emit.factors import emit_factor
from vispec.emit.laws.densities import dense
from vispec.emit.laws.joins import add
from vispec.emit.value import Value
from vispec.emit.writer import ModuleNeeds, Writer, identifier
from vispec.plan.axes import SAMPLES
from vispec.plan.plan import Plan

BAYESIAN = "vispec.kernels.layers.bayesian"


def shared_method(plan: Plan, needs: ModuleNeeds) -> list[str]:
    """`shared()`: one draw of each shared latent, and log p − log q of all that is shared."""
    w = Writer(plan.model, plan.scope, plan.order, needs)
    draw_all(w, plan, plan.shared_latents)
    parts = [total(w, dense(w, emit_factor(w, plan, factor))) for factor in plan.shared]
    if LOG_Q in w.bound:
        parts.append(total(w, w.let("minus_log_q", f"-{kl_weight(plan)}{w.bound[LOG_Q].code}", w.bound[LOG_Q].axes)))
    for name in plan.bayesian_nets:
        kl = w.let(f"kl_{name}", f"{w.needs.kernel(BAYESIAN, 'kl_of_weights')}(self.{identifier(name)})")
        parts.append(Value(f"-{kl_weight(plan)}{kl.code}"))
    ratio = add(w, parts, "log_ratio")
    draws = [w.nested(plan.model.variable[name], w.bound[name]) for name in plan.shared_latents]
    result = ", ".join([*(v.code for v in draws), ratio.code]) + ("" if draws else ",")
    doc = "; ".join(
        [*(f"{n} {v.shape()}" for n, v in zip(plan.shared_latents, draws, strict=True)), "log p − log q of all that rows share"]
    )
    head = "def shared(self) -> tuple[Tensor, ...]:"
    return [
        head,
        f'    """{doc}."""',
        *(f"    {line}" for line in w.body(result)),
        f"    return {result}" if draws else f"    return ({result})",
    ]


def total(w: Writer, value: Value) -> Value:
    """Summed over its plates, averaged over samples."""
    axes = [axis for axis in value.axes if axis != SAMPLES]
    code = value.code
    if axes:
        code = f"{code}.sum()" if SAMPLES not in value.axes else f"{code}.flatten(1).sum(1)"
    return (
        value
        if code == value.code and SAMPLES not in value.axes
        else w.let("part", f"{code}.mean(0)" if SAMPLES in value.axes else code)
    )


def bind_shared(w: Writer, plan: Plan, given: bool = False, one: bool = False) -> None:
    """Draw the shared latents, or if `given` take the argument `shared` where there is one; `one` of several draws will do."""
    if not plan.shared:
        return
    template = Writer(plan.model, plan.scope, plan.order, ModuleNeeds())
    found: dict[str, Value] = {}
    for name in plan.shared_latents:
        draw(template, plan, plan.model.variable[name])
        value = template.nested(plan.model.variable[name], template.bound[name])
        local = w.fresh(name)
        first = one and SAMPLES in value.axes
        found[local] = Value(f"{local}[0]", value.axes[1:], value.event) if first else Value(local, value.axes, value.event)
    w.line(f"{', '.join(found)}, _ = {'self.shared() if shared is None else shared' if given else 'self.shared()'}")
    for name, value in zip(plan.shared_latents, found.values(), strict=True):
        w.bound[name] = w.arranged(name, value, w.sort(value.axes))


def arguments(plan: Plan) -> str:
    """Parameters of the methods that compute densities."""
    shared = ", shared: tuple[Tensor, ...] | None = None" if plan.shared else ""
    return f"self, batch: dict[str, Tensor]{shared}"


def passed(plan: Plan) -> str:
    """What those methods pass on to one another."""
    return "batch, shared" if plan.shared else "batch"
