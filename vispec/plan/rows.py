"""The rows of the printed plan: each variable's treatment, what it costs and why."""

from __future__ import annotations

from collections.abc import Mapping

from vispec.plan.estimate import samples_of
from vispec.plan.formulas import Symbols, bytes_of, computed, largest, leading
from vispec.plan.held.setting import Setting
from vispec.plan.order.order import Order
from vispec.plan.order.steps import Expected, Step, Structured, Sum
from vispec.plan.planned import Cost
from vispec.plan.treatment import Row, Treatment
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.node import Node
from vispec.program.size import Size
from vispec.structures import structures


def symbols_of(s: Setting) -> Symbols:
    """Formulas in the sizes that the spec leaves open; a spec without a data plate has one row."""
    frame = s.f.frame
    sizes = {size.name: size.value for size in s.f.model.sizes if size.value is not None}
    symbols = Symbols(sizes, {frame.plate(p.name): 1 for p in s.f.model.plates if p.implicit})
    symbols.first(ordered(s.joint.problem.kept))
    return symbols


def rows_of(s: Setting, order: Order) -> tuple[Row, ...]:
    """A row for each variable, in the order of the spec."""
    model, symbols = s.f.model, symbols_of(s)
    built = values_of(s, order)
    found = list[Row]()
    for variable in model.variables:
        treatment = s.treatments[variable.name]
        steps = [step for step in order.steps if variable.name in summed_by(step, s)]
        cost, because = dict[str, str](), treatment.because
        if steps:
            cost = cost_of(steps, s, symbols, built)
            told = dict.fromkeys(words(step, s) for step in steps)
            because = "; ".join([because, *(each for each in told if each != INDEPENDENT or len(told) == 1)])
        elif treatment.kind == "draw":
            cost = draw_cost(s, variable.name, treatment, symbols)
        plates = tuple(p for p in variable.plates if not model.plate[p].implicit)
        found.append(Row(variable.name, plates, describe(treatment, steps), treatment.exact, cost, because))
    return tuple(found)


def owner(axis: Axis | None, s: Setting) -> str | None:
    """The latent whose values, here or elsewhere, alone or jointly, an axis is of."""
    own = {each.values: each.name for each in s.joint.problem.latents}
    while axis is not None:
        if axis in own:
            return own[axis]
        axis = axis.of[0] if axis.kind == "joint" and axis.of else axis.like
    return None


def summed_by(step: Step, s: Setting) -> tuple[str, ...]:
    """The latents that a step sums out."""
    axes: tuple[Axis, ...] = ()
    if isinstance(step, Sum | Expected):
        axes = (step.over,)
    elif isinstance(step, Structured):
        axes = step.group.own
    return tuple(name for axis in axes if (name := owner(axis, s)) is not None)


def values_of(s: Setting, order: Order) -> dict[str, Node]:
    """The node of each factor and of each step's result."""
    values = {factor.name: factor.node for factor in s.joint.problem.factors}
    for step in order.steps:
        values[step.output] = step.build(values, "log_sum_exp")
    return values


# ---- costs


def cost_of(steps: list[Step], s: Setting, symbols: Symbols, built: Mapping[str, Node]) -> dict[str, str]:
    """The terms of the steps that sum a latent out, and the bytes of the largest value on the way to them."""
    problem = s.joint.problem
    terms = sum((step.count(symbols.numbers) for step in steps), start=Size.of(0)) * symbols.elements(ordered(problem.kept))
    node = largest(computed(built[step.output] for step in steps), problem.numbers)
    shown = symbols.text(terms)
    return {"terms": shown, "madds": shown, "bytes": symbols.text(Size.of(0) if node is None else bytes_of(node, symbols))}


def draw_cost(s: Setting, name: str, treatment: Treatment, symbols: Symbols) -> dict[str, str]:
    """The draws of a latent, and the bytes of them."""
    count = samples_of(treatment.estimator) if treatment.estimator is not None else 1
    frame, variable = s.f.frame, s.f.model.variable[name]
    made = symbols.elements((*map(frame.plate, variable.plates), *frame.shape(variable.type))) * count
    return {"terms": "1 draw" if count == 1 else f"{count} draws", "madds": symbols.text(made), "bytes": symbols.text(made * 4)}


def whole_cost(s: Setting, order: Order, log_prob: Node) -> Cost:
    """What one evaluation of log_prob costs."""
    symbols, numbers = symbols_of(s), s.joint.problem.numbers
    kept = symbols.elements(ordered(s.joint.problem.kept))
    terms = symbols.text(sum((step.count(symbols.numbers) for step in order.steps), start=Size.of(0)) * kept)
    each = {node: bytes_of(node, symbols) for node in computed([log_prob])}
    value = lambda size: size.value(Values(symbols, numbers))  # noqa: E731
    alive = alive_at_peak(log_prob, numbers)
    kept_bytes, peak = [leading(sum((each[n] for n in found), start=Size.of(0)), value) for found in ([*each], alive)]
    return Cost(terms, symbols.text(kept_bytes), symbols.text(peak), order.runner_up)


def alive_at_peak(root: Node, numbers: Numbers) -> list[Node]:
    """The values that are alive where most bytes are, each computed in order and dropped after its last use."""
    from vispec.program.cost import size
    from vispec.program.walk import nodes

    order = list(nodes([root]))
    owned = set(computed([root]))
    ends = {arg: at for at, node in enumerate(order) for arg in node.args} | {root: len(order)}
    alive, best, most = dict[Node, int](), list[Node](), -1
    for at, node in enumerate(order):
        if node in owned:
            alive[node] = size(node, numbers, 4)
        if (now := sum(alive.values())) > most:
            best, most = [*alive], now
        for arg in {*node.args}:
            if ends[arg] == at:
                alive.pop(arg, None)
    return best


class Values(dict[str, int]):
    """Numbers for the names in formulas: a typical one of what only the data can tell."""

    def __init__(self, symbols: Symbols, numbers: Numbers):
        super().__init__({**numbers.sizes})
        self.typical = numbers.typical

    def __missing__(self, name: str) -> int:
        return self.typical


# ---- words


INDEPENDENT = "independent in each element of its plates"


def words(step: Step, s: Setting) -> str:
    """How a step sums its latents."""
    names = dict.fromkeys(summed_by(step, s))
    if isinstance(step, Structured):
        kind = structures()[step.kind]
        others = [name for name in names if len(names) > 1]
        together = f" of {', '.join(others)} together" if others else ""
        return f"{kind.called or kind.name} along {step.group.plate}{together}: {kind.words}"
    assert isinstance(step, Sum | Expected)
    touched = {owner(axis, s) for axis in step.touched} - {None, *names}
    along = s.joint.held.along.get(next(iter(names), ""), ())
    if along:
        return f"read together along {', '.join(map(str, along))}: all joint values"
    if step.over.kind == "joint" and step.over.of:
        return f"coupled across {step.over.of[1]}: all joint values along it"
    if any(axis is not step.over and owner(axis, s) in names for axis in step.touched):
        return "its elements are coupled: each is summed out for all values of the others"
    if touched:
        return f"summed out for all values of {', '.join(sorted(str(name) for name in touched))}"
    return INDEPENDENT


def describe(found: Treatment, steps: list[Step]) -> str:
    """The treatment in a word or two."""
    if found.kind == "sum":
        kind = next(
            (k.summed or k.name for step in steps if isinstance(step, Structured) for k in [structures()[step.kind]]), None
        )
        return f"{kind}, summed" if kind else "summed"
    if found.kind == "draw" and found.estimator is not None:
        settings = ", ".join(f"{k}={v}" for k, v in found.estimator.settings)
        return f"{found.estimator.name}({settings})"
    return {"data": "data", "integrate": "integrated", "masked": "scored where seen", "free": "not needed"}.get(
        found.kind, found.kind
    )
