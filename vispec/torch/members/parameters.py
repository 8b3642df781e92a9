"""Parameters: stored without constraint, read and assigned under the spec's name in constrained space."""

from __future__ import annotations

from dataclasses import dataclass

from vispec.factors.frame import size_of, stored_names
from vispec.model.model import Apply, Const, Expression, Model, Param, SizeOf, Stack
from vispec.model.types import Dim
from vispec.program.size import Size, Whole
from vispec.torch.text.names import ModuleNames


@dataclass(frozen=True)
class Constraint:
    """forward, inverse: text in x. kernels: functions that the text needs. spread: standard deviation of the stored numbers at
    the start: enough to break a mixture's symmetry."""

    forward: str
    inverse: str
    kernels: tuple[str, ...] = ()
    spread: float = 0.1


CONSTRAINTS = {
    "simplex": Constraint("{}.softmax(-1)", "{}.log()"),
    "unit": Constraint("torch.sigmoid({})", "torch.logit({})"),
    "positive": Constraint("F.softplus({})", "softplus_inverse({})", ("softplus_inverse",), 0.0),
    "cholesky": Constraint("to_cholesky({})", "from_cholesky({})", ("to_cholesky", "from_cholesky")),
    "ordered": Constraint("to_ordered({})", "from_ordered({})", ("to_ordered", "from_ordered")),
}
FILE = "vispec.kernels.constraints"


def named(model: Model) -> ModuleNames:
    """Names for a module's attributes, its parameters' before all others, so that they are as in the spec where they can be."""
    names = ModuleNames(stored=stored_names(model))
    for param in model.params:
        names.attribute("property" if param.type.domain in CONSTRAINTS else "parameter", param.name)
    for name in names.stored.values():
        names.attribute("parameter", name)
    return names


def stored(param: Param, names: ModuleNames) -> str:
    """The module's attribute as text."""
    return f"self.{names.attribute('parameter', names.stored[param.name])}"


def declaration(param: Param, model: Model, names: ModuleNames) -> str:
    """The line of the constructor."""
    code = stored(param, names)
    shape = shape_of(param, model)
    text = ", ".join(local(dim, names) for dim in shape)
    constraint = CONSTRAINTS.get(param.type.domain)
    note = ", ".join(map(str, (*param.plates, *param.type.shape)))
    note = f"  # ({note})" if note else ""
    if param.value is not None:
        written = tensor_text(param.value, f"{text}," if len(shape) == 1 else text, names)
        return f"{code} = nn.Parameter({constraint.inverse.format(written) if constraint else written}){note}"
    if param.start is not None:
        mean, spread = (f"{number:.4g}" for number in param.start)
        size = f"{text}," if len(shape) == 1 else text
        full = f"torch.zeros({text or '()'})" if mean == "0" else f"torch.full(({size}), {mean})"
        value = full if spread == "0" else f"{mean} + {spread} * torch.randn({text or '()'})"
        return f"{code} = nn.Parameter({value.removeprefix('0 + ')}){note}"
    if not param.plates:
        return f"{code} = nn.Parameter(torch.zeros({text or '()'})){note}"
    scale = "" if constraint is None else f" * {constraint.spread or 0.1}"
    return f"{code} = nn.Parameter(torch.randn({text}){scale}){note}"


def tensor_text(value: Expression, shape: str, names: ModuleNames) -> str:
    """A written start as a tensor of this shape."""
    if isinstance(value, Stack):
        return f"torch.tensor({number_text(value, names)}).expand({shape.removesuffix(',')}).clone()"
    return f"torch.full(({shape}), {number_text(value, names)})"


def number_text(value: Expression, names: ModuleNames, level: int = 0) -> str:
    """A written start as Python, in brackets where it binds more loosely than `level`; whole numbers as floats."""
    match value:
        case Const(value=number):
            return repr(float(number))
        case SizeOf(name=name):
            return names.attribute("size", name)
        case Stack(items=items):
            return f"[{', '.join(number_text(item, names) for item in items)}]"
        case Apply(function="neg", args=(operand,)):
            text, binds = f"-{number_text(operand, names, 3)}", 3
        case Apply(function="^", args=(base, exponent)):
            text, binds = f"{number_text(base, names, 5)} ** {number_text(exponent, names, 3)}", 4
        case Apply(function=function, args=(left, right)):
            binds = 1 if function in "+-" else 2
            text = f"{number_text(left, names, binds)} {function} {number_text(right, names, binds + 1)}"
        case _:
            raise AssertionError(f"no start: {value}")
    return text if binds >= level else f"({text})"


def shape_of(param: Param, model: Model) -> tuple[Dim, ...]:
    """Sizes of its plates, then its event shape."""
    return tuple(model.plate[p].size or p for p in param.plates) + param.type.shape


def local(dim: Dim, names: ModuleNames) -> str:
    """A size inside the constructor, where sizes are arguments."""
    return local_size(size_of(dim), names)


def local_size(size: Size, names: ModuleNames) -> str:
    def factor(found: str | Whole) -> str:
        if isinstance(found, str):
            return names.attribute("size", found)
        sign = "//" if found.op == "floor" else "**"
        return f"({local_size(found.left, names)}) {sign} ({local_size(found.right, names)})"

    text = ""
    for key, count in sorted(size.terms, key=lambda term: (-len(term[0]), term[1] < 0, str(term[0]))):
        factors = [*([] if abs(count) == 1 and key else [str(abs(count))]), *map(factor, key)]
        sign = ("-" if count < 0 else "") if not text else (" - " if count < 0 else " + ")
        text += sign + " * ".join(factors)
    return text or "0"


def properties(param: Param, names: ModuleNames) -> tuple[list[str], list[tuple[str, str]]]:
    """Getter and setter in constrained space, and the kernels that they use; nothing for a parameter without constraint."""
    constraint = CONSTRAINTS.get(param.type.domain)
    if constraint is None:
        return [], []
    code, name = stored(param, names), names.attribute("property", param.name)
    plates = ", ".join(param.plates)
    told = f"{param.type}, one for each element of {plates}." if plates else f"{param.type}."
    lines = [
        "@property",
        f"def {name}(self) -> Tensor:",
        f'    """{told}"""',
        f"    return {constraint.forward.format(code)}",
        "",
        f"@{name}.setter",
        f"def {name}(self, value: Tensor) -> None:",
        "    with torch.no_grad():",
        f"        raw = {constraint.inverse.format('value')}",
        f"        {code}.copy_(in_domain(raw, {constraint.forward.format('raw')}, value))",
    ]
    return lines, [(FILE, kernel) for kernel in (*constraint.kernels, "in_domain")]
