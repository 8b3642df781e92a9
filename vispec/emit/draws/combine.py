"""Log-weights of samples into one bound a row, with the gradient that the estimators ask for."""

import math

from vispec.emit.draws.latents import log_of_guide
from vispec.emit.laws.expressions import named
from vispec.emit.laws.forms import tensor
from vispec.emit.laws.joins import add
from vispec.emit.steps import steps
from vispec.emit.value import Value, align, union
from vispec.emit.writer import Writer
from vispec.plan.axes import SAMPLES
from vispec.plan.estimate import source_of
from vispec.plan.guides import BASELINE
from vispec.plan.plan import Gradient, Plan, Step

SCORE = "vispec.kernels.draws.score"


def combine(w: Writer, plan: Plan, total: Value, query: bool) -> Value:
    """(s, rows) → (rows); a posterior query takes the value alone, without a gradient of its own."""
    axes = tuple(axis for axis in total.axes if axis != SAMPLES)
    if "weight of samples" in w.bound and SAMPLES in total.axes:
        function = w.needs.kernel("vispec.kernels.draws.stratified", "stratified_bound")
        return w.let("bound", f"{function}({total.code}, {w.bound['weight of samples'].code})", axes)
    if not query and "score" in plan.by_gradient:
        return scored(w, plan, total, axes)
    if SAMPLES not in total.axes:
        return total
    if plan.combine == "elbo":
        return w.let("bound", f"{total.code}.mean(0)", axes)
    if not query and "dreg" in plan.by_gradient:
        function = w.needs.kernel("vispec.kernels.draws.reparameterised", "dreg_bound")
        shares = w.let("shares", "[]")
        return w.let("bound", f"{function}({total.code}, {shares.code})", axes)
    count = str(plan.sample_count)
    log_count = repr(math.log(int(count))) if count.isdecimal() else f"(self.one * {count}).log()"
    function = w.needs.kernel("vispec.kernels.sums.logsum", "log_sum_exp")
    return w.let("bound", f"{function}({total.code}.movedim(0, -1)) - {log_count}", axes)


def scored(w: Writer, plan: Plan, total: Value, axes: tuple[str, ...]) -> Value:
    """The bound with the score function's gradient for the draws that carry none."""
    log_q = log_q_of(w, plan, "score")
    both = w.sort({*total.axes, *log_q.axes})
    several = SAMPLES in both
    codes = [align(v, both) if several else f"{v.code}.unsqueeze(0)" for v in (total, log_q)]
    if several and both != total.axes:
        codes[0] = f"({codes[0]}).expand({plan.sample_count}, {', '.join('-1' for _ in both[1:])})"
    multi = plan.combine in ("iwae", "mc")
    baseline = {"loo": "vimco"}.get(plan.baseline, plan.baseline) if multi else plan.baseline
    if baseline == "mean":
        codes += ["self.score_baseline", "self.training"]
    elif baseline == "nvil":
        codes.append(named(w, BASELINE).code)
    function = w.needs.kernel(SCORE, f"score_{'multi' if multi else 'bound'}_{baseline}")
    return w.let("bound", f"{function}({', '.join(codes)})", axes)


def log_q_of(w: Writer, plan: Plan, gradient: Gradient) -> Value:
    """log q of all draws with this kind of gradient, summed to one number a row and sample."""
    parts: list[Value] = []
    for name in plan.drawing_order:
        if plan.treatments[name].gradient != gradient:
            continue
        variable = plan.model.variable[name]
        law = source_of(name, plan.model)
        assert law is not None
        value = log_of_guide(w, plan, variable, law)
        if variable.role == "partial":
            seen = w.observed(variable.name)
            axes = union((seen, value), w.order)
            code = tensor(w, value) if value.scalar else align(value, axes)
            value = w.let(f"log_q_{name}", f"torch.where({align(seen, axes)}, 0.0, {code})", axes)
        plates = tuple(p for p in variable.plates if p != plan.data_plate)
        if plates:
            step = Step((f"q_{name}",), f"q_{name}", (), (), "product", plates, "")
            found = steps()["product"].emit(w, step, {f"q_{name}": value}, False)
            assert isinstance(found, Value)
            value = found
        parts.append(value)
    total = add(w, parts, "log_q")
    if plan.data_plate in total.axes:
        return total
    size = w.plate_size(plan.data_plate)
    axes = w.sort({*total.axes, plan.data_plate})
    inner = f"({tensor(w, total)}).unsqueeze(-1)" if total.axes else f"({tensor(w, total)})"
    return w.let("log_q", f"{inner}.expand({'-1, ' * len(total.axes)}{size})", axes)
