"""What a plan costs: terms, multiply-adds and bytes of each variable's treatment, as formulas with the known sizes in."""

import re
from collections.abc import Sequence

from vispec.model.model import Model
from vispec.plan.axes import Scope, element_plates, past, present, unrolled_plate
from vispec.plan.estimate import samples_of
from vispec.plan.plan import Factor, Row, Step, Treatment


def axis_size(axis: str, model: Model) -> str:
    """The size of a plate or of a latent's values as a formula: a number, a name, or |p| for a plate that the data sizes."""
    name, plate = present(axis), unrolled_plate(axis)
    if plate is not None:
        return str(int(axis_size(name, model)) ** int(axis_size(plate, model)))
    if name in model.plate:
        size = 1 if model.plate[name].implicit else model.plate[name].size
        return str(known(size, model)) if size is not None else f"|{name}|"
    type_ = model.variable[name].type
    if type_.domain == "bit":
        return "2"
    if type_.domain == "tree":
        return axis_size(str(type_.plate), model)
    return str(known(type_.card, model)) if type_.card is not None else f"|{type_.plate}|"


def known(dim: int | str, model: Model) -> int | str:
    """A size's number where the spec says it."""
    values = {size.name: size.value for size in model.sizes if size.value is not None}
    if isinstance(dim, str) and dim in values:
        return values[dim]
    return dim


def product(sizes: Sequence[str]) -> str:
    """A formula, its numbers multiplied out: 4 · |n| · K."""
    number, names = 1, list[str]()
    for size in sizes:
        if re.fullmatch(r"\d+", size):
            number *= int(size)
        else:
            names.append(f"({size})" if re.search(r"[ +*-]", size) else size)
    return " · ".join(([str(number)] if number != 1 or not names else []) + names)


def step_of(name: str, steps: Sequence[Step]) -> Step | None:
    sums = (step for step in steps if step.kind in ("sum", "chain", "tree"))
    return next((step for step in sums if name in map(present, step.eliminated)), None)


def step_sizes(step: Step, model: Model, scope: Scope) -> list[str]:
    """The sizes whose product is the number of terms that a sum adds."""
    axes = [*step.plates, *step.latents]
    if step.kind == "chain":
        axes += run_plates(step, model)
        axes += [past(latent, lag) for lag in range(1, step.order + 1) for latent in step.eliminated]
    if step.kind == "tree":
        axes += [str(model.variable[step.eliminated[0]].type.plate)] * 2
    return [axis_size(axis, model) for axis in axes] + [values(latent, model, scope) for latent in step.eliminated]


def values(latent: str, model: Model, scope: Scope) -> str:
    """How many values an enumerated latent takes: those of all its elements together where something reads them so."""
    size = axis_size(latent, model)
    if latent not in scope.joint:
        return size
    many = axis_size(scope.joint[latent], model)
    return str(int(size) ** int(many)) if size.isdigit() and many.isdigit() and int(many) < 64 else f"{size}^{many}"


def step_rows(
    model: Model, scope: Scope, treatments: dict[str, Treatment], factors: Sequence[Factor], steps: Sequence[Step]
) -> tuple[Row, ...]:
    """A row of the printed plan for each variable that is not simply data."""
    rows: list[Row] = []
    for variable in model.variables:
        found = treatments[variable.name]
        step = step_of(variable.name, steps)
        cost: dict[str, str] = {}
        because = found.because
        if step is not None:
            terms = product(step_sizes(step, model, scope))
            kept = [axis_size(axis, model) for axis in (*step.plates, *step.latents)]
            states = [values(latent, model, scope) for latent in step.eliminated] * step.order
            stored = [*kept, *states, *(axis_size(p, model) for p in run_plates(step, model))]
            again = [axis_size(latent, model) for latent in step.eliminated] * (step.order - 1)  # from pairs to pairs
            madds = product([*step_sizes(step, model, scope), *again])
            cost = {"terms": terms, "madds": madds, "bytes": product(["4", *stored])}
            because = f"{found.because}; {step.because}{unrolling(variable.name, model, scope)}"
        elif found.kind == "draw":
            shape = [axis_size(p, model) for p in variable.plates] + [str(known(d, model)) for d in variable.type.shape]
            count = samples_of(found.estimator) if found.estimator is not None else 1
            terms = "1 draw" if count == 1 else f"{count} draws"
            cost = {"terms": terms, "madds": product([str(count), *shape]), "bytes": product(["4", str(count), *shape])}
        treatment = describe(found, step)
        plates = tuple(p for p in variable.plates if not model.plate[p].implicit)
        rows.append(Row(variable.name, plates, treatment, found.exact, cost, because))
    return tuple(rows)


def unrolling(name: str, model: Model, scope: Scope) -> str:
    """Why a latent is summed out jointly along a plate, and over how many values."""
    plate = scope.unrolled.get(name)
    if plate is None:
        return ""
    own, others = set(model.variable[name].plates), [v for v in model.variables if v.name in scope.enumerated]
    crossing = [v.name for v in others if v.role == "latent" and plate not in v.plates and set(v.plates) - own]
    values, size = axis_size(name, model), axis_size(plate, model)
    return f": coupled with {', '.join(crossing)} across {plate}, {values}^{size} = {int(values) ** int(size)} values"


def run_plates(step: Step, model: Model) -> list[str]:
    """Plates that a step reduces together with its latents."""
    if step.kind not in ("chain", "tree"):
        return []
    return [p for p in element_plates(model.variable[step.eliminated[0]]) if p not in step.plates]


def describe(found: Treatment, step: Step | None) -> str:
    """The treatment in a word or two."""
    if found.kind == "sum":
        return {"chain": "chain, summed", "tree": "trees, summed"}.get(step.kind if step else "", "summed")
    if found.kind == "draw" and found.estimator is not None:
        settings = ", ".join(f"{k}={v}" for k, v in found.estimator.settings)
        return f"{found.estimator.name}({settings})"
    return {"data": "data", "masked": "scored where seen", "free": "not needed"}.get(found.kind, found.kind)
