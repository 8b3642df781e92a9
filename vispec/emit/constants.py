"""Deterministic nodes that only parameters decide, the same for all rows, as properties of the module."""

from vispec.emit.laws.expressions import expression
from vispec.emit.laws.forms import tensor, to_value
from vispec.emit.value import align
from vispec.emit.writer import ModuleNeeds, Writer, identifier
from vispec.model.model import Let, Model
from vispec.model.walk import walk
from vispec.plan.plan import Plan


def constant_lets(model: Model) -> list[Let]:
    """Those that read no variable, be it through others."""
    lets = {let.name: let for let in model.lets}

    def is_constant(let: Let) -> bool:
        names = [str(name) for e in walk(let.value) if (name := getattr(e, "name", None)) is not None]
        return not any(name in model.variable or (name in lets and not is_constant(lets[name])) for name in names)

    return [let for let in model.lets if not any(model.plate[p].data for p in let.plates) and is_constant(let)]


def constant_properties(plan: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """One for each of them."""
    return [constant_property(plan, let, needs) for let in constant_lets(plan.model)]


def constant_property(plan: Plan, let: Let, needs: ModuleNeeds) -> list[str]:
    w = Writer(plan.model, plan.scope, plan.order, needs)
    value = to_value(w, expression(w, let.value), let.type.domain)
    axes = w.sort(let.plates)
    code = tensor(w, value) if value.scalar else align(value, axes, len(let.type.shape))
    if value.axes != axes:
        code = f"({code}).expand({', '.join([*map(w.axis_size, axes), *map(w.dim, let.type.shape)])})"
    if axes != let.plates:
        code = w.nested(let, w.let(let.name, code, axes, let.type.shape)).code
    plates = f", one for each element of {', '.join(let.plates)}" if let.plates else ""
    return [
        "@property",
        f"def {identifier(let.name)}(self) -> Tensor:",
        f'    """{let.type}{plates}."""',
        *(f"    {line}" for line in w.body(code)),
        f"    return {code}",
    ]
