"""Parameters: stored without constraint, read and assigned under the spec's name in constrained space."""

from dataclasses import dataclass

from vispec.emit.value import Form
from vispec.emit.writer import ModuleNeeds, identifier
from vispec.model.model import Apply, Const, Expression, Model, Param, SizeOf, Stack
from vispec.model.types import Dim, Type


@dataclass(frozen=True)
class Constraint:
    """form: what the stored numbers are. forward, inverse: text in x. kernels: functions that the text needs."""

    form: Form
    forward: str
    inverse: str
    kernels: tuple[str, ...] = ()
    spread: float = 0.1  # standard deviation of the stored numbers at the start: enough to break a mixture's symmetry


CONSTRAINTS = {
    "simplex": Constraint("logits", "{}.softmax(-1)", "{}.log()"),
    "unit": Constraint("logit", "torch.sigmoid({})", "torch.logit({})"),
    "positive": Constraint("raw", "F.softplus({})", "softplus_inverse({})", ("softplus_inverse",), 0.0),
    "cholesky": Constraint("raw", "to_cholesky({})", "from_cholesky({})", ("to_cholesky", "from_cholesky")),
    "ordered": Constraint("raw", "to_ordered({})", "from_ordered({})", ("to_ordered", "from_ordered")),
}


def stored(param: Param) -> tuple[str, Form]:
    """The attribute that holds a parameter, and the form of its numbers."""
    constraint = CONSTRAINTS.get(param.type.domain)
    if constraint is None:
        return f"self.{identifier(param.name)}", "value"
    return f"self.raw_{param.name}", constraint.form


def declaration(param: Param, model: Model, needs: ModuleNeeds) -> list[str]:
    """Lines of the constructor."""
    code, _ = stored(param)
    shape = shape_of(param, model)
    text = ", ".join(str(d) if isinstance(d, int) else dim_local(d) for d in shape)
    constraint = CONSTRAINTS.get(param.type.domain)
    names = ", ".join(map(str, (*param.plates, *param.type.shape)))
    note = f"  # ({names})" if names else ""
    if param.value is not None:
        written = tensor_text(param.value, f"{text}," if len(shape) == 1 else text)
        return [f"{code} = nn.Parameter({constraint.inverse.format(written) if constraint else written}){note}"]
    if param.start is not None:
        mean, spread = (f"{number:.4g}" for number in param.start)
        size = f"{text}," if len(shape) == 1 else text
        full = f"torch.zeros({text or '()'})" if mean == "0" else f"torch.full(({size}), {mean})"
        value = full if spread == "0" else f"{mean} + {spread} * torch.randn({text or '()'})"
        return [f"{code} = nn.Parameter({value.removeprefix('0 + ')}){note}"]
    if not shape:
        return [f"{code} = nn.Parameter(torch.zeros(())){note}"]
    if constraint is not None and not param.plates:
        return [f"{code} = nn.Parameter(torch.zeros({text})){note}"]
    scale = "" if constraint is None else f" * {constraint.spread}"
    if constraint is None and not param.plates:
        return [f"{code} = nn.Parameter(torch.zeros({text})){note}"]
    return [f"{code} = nn.Parameter(torch.randn({text}){scale if constraint is None or constraint.spread else ' * 0.1'}){note}"]


def tensor_text(value: Expression, shape: str) -> str:
    """A written start as a tensor of this shape."""
    if isinstance(value, Stack):
        return f"torch.tensor({number_text(value)}).expand({shape.removesuffix(',')}).clone()"
    return f"torch.full(({shape}), {number_text(value)})"


def number_text(value: Expression, level: int = 0) -> str:
    """A written start as Python, in brackets where it binds more loosely than `level`; whole numbers as floats."""
    match value:
        case Const(value=number):
            return repr(float(number))
        case SizeOf(name=name):
            return identifier(name)
        case Stack(items=items):
            return f"[{', '.join(map(number_text, items))}]"
        case Apply(function="neg", args=(operand,)):
            text, binds = f"-{number_text(operand, 3)}", 3
        case Apply(function="^", args=(base, exponent)):
            text, binds = f"{number_text(base, 5)} ** {number_text(exponent, 3)}", 4
        case Apply(function=function, args=(left, right)):
            binds = 1 if function in "+-" else 2
            text = f"{number_text(left, binds)} {function} {number_text(right, binds + 1)}"
        case _:
            raise AssertionError(f"no start: {value}")
    return text if binds >= level else f"({text})"


def shape_of(param: Param, model: Model) -> tuple[Dim, ...]:
    """Sizes of its plates, then its event shape."""
    return tuple(model.plate[p].size or p for p in param.plates) + param.type.shape


def dim_local(dim: str) -> str:
    """A symbolic size inside the constructor, where sizes are arguments."""
    import re

    return re.sub(r"[A-Za-z_]\w*", lambda m: identifier(m.group()), dim)


def properties(param: Param, needs: ModuleNeeds) -> list[str]:
    """Getter and setter in constrained space; nothing for a parameter that has no constraint."""
    constraint = CONSTRAINTS.get(param.type.domain)
    if constraint is None:
        return []
    for kernel in constraint.kernels:
        needs.kernel("vispec.kernels.constraints", kernel)
    code, _ = stored(param)
    name = identifier(param.name)
    return [
        "@property",
        f"def {name}(self) -> Tensor:",
        f'    """{describe(param)}"""',
        f"    return {constraint.forward.format(code)}",
        "",
        f"@{name}.setter",
        f"def {name}(self, value: Tensor) -> None:",
        "    with torch.no_grad():",
        f"        {code}.copy_({constraint.inverse.format('value')})",
    ]


def describe(param: Param) -> str:
    plates = ", ".join(param.plates)
    return f"{param.type}, one for each element of {plates}." if plates else f"{param.type}."


def size_names(type_: Type) -> set[str]:
    import re

    dims = [*type_.shape, *([type_.card] if type_.card is not None else [])]
    return {n for d in dims if isinstance(d, str) for n in re.findall(r"[A-Za-z_]\w*", d)}
