"""log_prob and loss."""

from vispec.emit.draws.shared import arguments, bind_shared, passed, shared_method
from vispec.emit.draws.wake_sleep import sleep_method, sleeps
from vispec.emit.factors import emit_factors, emit_steps
from vispec.emit.joint import inside, joint_methods, joint_step, joint_sum
from vispec.emit.value import Value
from vispec.emit.writer import ModuleNeeds, Writer
from vispec.plan.plan import Plan


def density_methods(plan: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """log_prob and loss, and the methods that they call."""
    if plan.alternative is not None:
        return either_methods(plan, plan.alternative, needs)
    found = [loss_method(plan, needs), *([sleep_method(plan, needs)] if sleeps(plan) else [])]
    if plan.has_shared:
        found.append(shared_method(plan, needs))
    step = joint_step(plan)
    if step is not None:
        own = log_prob_method(plan, needs)
        return [*joint_methods(plan, needs, step), own, *found]
    return [log_prob_method(plan, needs), *found]


def writer(plan: Plan, needs: ModuleNeeds, given: bool = False) -> Writer:
    """One for a method of the plan's own axes; `given`: which may be told what all rows share."""
    w = Writer(plan.model, plan.scope, plan.order, needs)
    w.samples = str(plan.sample_count)
    step = joint_step(plan)
    if step is not None:
        w.elsewhere = frozenset(factor.name for factor in inside(plan, step)[0])
        w.joint_sums[step.output] = lambda query: joint_sum(w, plan, step, query)
    bind_shared(w, plan, given)
    return w


def summary(plan: Plan) -> str:
    if plan.exact:
        return f"log p of each row ({plan.data_plate},), exact, in nats."
    kind = {"elbo": "A lower bound", "iwae": "A lower bound", "mc": "An estimate"}.get(plan.combine, "An estimate")
    return f"{kind} on log p of each row ({plan.data_plate},), in nats: {plan.estimator}."


def log_prob_method(plan: Plan, needs: ModuleNeeds) -> list[str]:
    w = writer(plan, needs, given=True)
    result = emit_steps(w, plan, emit_factors(w, plan), query=False)
    return finish(w, f"def log_prob({arguments(plan)}) -> Tensor:", summary(plan), result)


def finish(w: Writer, head: str, doc: str, result: Value) -> list[str]:
    """A method whose last line returns the result; an assignment that is only returned is not made."""
    lines = w.body(result.code)
    last = f"return {result.code}"
    if lines and lines[-1].startswith(f"{result.code} = "):
        last = "return " + lines.pop().removeprefix(f"{result.code} = ")
    return [head, f'    """{doc}"""', *(f"    {line}" for line in (*lines, last))]


def either_methods(plan: Plan, other: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """log_prob by one of two plans, each row by its number of joint values."""
    step = joint_step(plan)
    assert step is not None
    (name,) = step.eliminated
    variable, plate = plan.model.variable[name], plan.scope.joint[name]
    key = plan.model.plate[plate].length_key
    values = variable.type.card if variable.type.domain != "bit" else 2
    w = writer(plan, needs)
    count = values if isinstance(values, int) else w.dim(values or 1)
    keys = [v.name for v in plan.model.variables if plan.data_plate in v.plates and v.role != "latent"]
    keys += [p.length_key for p in plan.model.plates if p.ragged] + [
        f"{n}_observed" for n in keys if plan.model.variable[n].role == "partial"
    ]
    needs.kernel("vispec.kernels.rows", "take_rows")
    names = "(" + ", ".join(f'"{k}"' for k in keys) + ",)"
    size = (
        f'batch["{key}"]'
        if plan.model.plate[plate].ragged
        else f"torch.full(({w.plate_size(plan.data_plate)},), {w.plate_size(plate)})"
    )
    either = [
        f"def log_prob({arguments(plan)}) -> Tensor:",
        f'    """log p of each row ({plan.data_plate},) in nats: {plan.estimator}."""',
        f"    few = {few_joint_values(count, size, plan.budget or 1)}",
        "    if few.all():",
        f"        return self.exact_log_prob({passed(plan)})",
        "    if not few.any():",
        f"        return self.estimated_log_prob({passed(plan)})",
        "    log_prob = self.one.new_empty(len(few))",
        f"    log_prob[few] = self.exact_log_prob(take_rows(batch, few, {names}))",
        f"    log_prob[~few] = self.estimated_log_prob(take_rows(batch, ~few, {names}))",
        "    return log_prob",
    ]
    found: list[list[str]] = []
    for each, prefix in ((other, "estimated"), (plan, "exact")):
        lines = log_prob_method(each, needs)
        found.insert(0, [lines[0].replace("def log_prob", f"def {prefix}_log_prob"), *lines[1:]])
    return [*joint_methods(plan, needs, step), *found, either, loss_method(plan, needs)]


def few_joint_values(values: int | str, size: str, budget: int) -> str:
    """The rows with at most `budget` joint values, as text; a power of integers would overflow for a long row."""
    if not isinstance(values, int):
        return f"float({values}) ** {size}.double() <= {budget}"
    most = 0
    while values ** (most + 1) <= budget:
        most += 1
    return f"{size} <= {most}  # {values} ** {most} joint values"


def loss_method(plan: Plan, needs: ModuleNeeds) -> list[str]:
    if sleeps(plan):
        return wake_sleep_loss(plan, needs)
    told, weighed = ("Σ", []) if plan.model.weight is None else ("Σ w", [f"    {line}" for line in weighing(plan.model.weight)])
    if plan.has_shared:
        return [
            "def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:",
            f'    """Minibatch estimate of -log p(data) or its bound: (N/M) {told} over the rows, '
            'and once what all rows share."""',
            "    shared = self.shared()",
            f"    log_prob = self.log_prob({passed(plan)})",
            *weighed,
            "    return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]",
        ]
    return [
        "def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:",
        f'    """Minibatch estimate of -log p(data): (N/M) {told} over the rows of the batch."""',
        "    log_prob = self.log_prob(batch)",
        *weighed,
        "    return log_prob.sum() * (-num_data / len(log_prob))",
    ]


def weighing(weight: str) -> list[str]:
    """log_prob as so many rows each; one of none, which may be impossible, adds nothing."""
    weights = f'batch["{weight}"]'
    return [f"log_prob = torch.where({weights} > 0, {weights} * log_prob, 0.0)"]


def wake_sleep_loss(plan: Plan, needs: ModuleNeeds) -> list[str]:
    """The wake phase's bound in value, and the gradients of both phases."""
    shared = plan.has_shared
    head = [
        "def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:",
        '    """Minibatch estimate of minus the bound: (N/M) Σ over the rows.',
        "",
        "    Its gradient for the model is that of log p at draws of the guide (wake), for the guide that of log q at dreams",
        "    of the model (sleep), whose value cancels.",
        '    """',
        *(["    shared = self.shared()"] if shared else []),
        f"    log_prob = self.log_prob({passed(plan)})",
        "    log_q = self.sleep(batch)",
    ]
    rest = " - shared[-1]" if shared else ""
    function = needs.kernel("vispec.kernels.sums.logsum", "gradient_alone")
    if plan.model.weight is not None:
        head += [f"    log_prob = log_prob + {function}(log_q)", *(f"    {line}" for line in weighing(plan.model.weight))]
        return [*head, f"    return -log_prob.sum() * (num_data / len(log_prob)){rest}"]
    return [*head, f"    return -(log_prob + {function}(log_q)).sum() * (num_data / len(log_prob)){rest}"]
