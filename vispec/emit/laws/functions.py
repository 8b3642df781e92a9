"""The functions and operators of expressions, as text over aligned tensors."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vispec.emit.laws.forms import real
from vispec.emit.value import Value, align
from vispec.model.model import Apply
from vispec.model.types import MISSING
from vispec.model.walk import law_parts, walk

if TYPE_CHECKING:
    from vispec.emit.writer import Writer

OPERATORS = {
    "+": "{} + {}",
    "-": "{} - {}",
    "*": "{} * {}",
    "/": "{} / {}",
    "^": "{} ** {}",
    "neg": "-{}",
    "<": "{} < {}",
    "<=": "{} <= {}",
    ">": "{} > {}",
    ">=": "{} >= {}",
    "==": "{} == {}",
    "!=": "{} != {}",
    "and": "{} & {}",
    "or": "{} | {}",
    "not": "~{}",
}

ELEMENTWISE = {
    "exp": "torch.exp({})",
    "log": "torch.log({})",
    "sqrt": "torch.sqrt({})",
    "tanh": "torch.tanh({})",
    "softplus": "F.softplus({})",
    "abs": "torch.abs({})",
    "relu": "F.relu({})",
    "sign": "torch.sign({})",
    "floor": "torch.floor({})",
    "round": "torch.round({})",
    "sin": "torch.sin({})",
    "cos": "torch.cos({})",
    "erf": "torch.erf({})",
    "Phi": "torch.special.ndtr({})",
    "lgamma": "torch.lgamma({})",
}

REDUCTIONS = {"sum": "{}.sum(-1)", "mean": "{}.mean(-1)", "max": "{}.amax(-1)", "min": "{}.amin(-1)"}

Compile = Callable[["Writer", Apply, Sequence[Value], tuple[str, ...]], Value]


def _elementwise(template: str) -> Compile:
    def compile_(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
        (value,) = args
        code = f"self.one * {value.code}" if value.scalar or value.integer else value.code
        return w.let(e.function, template.format(code), value.axes, value.event)

    return compile_


def _reduction(template: str) -> Compile:
    def compile_(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
        if len(args) == 2:
            return larger_or_smaller(w, e.function, args, axes)
        (value,) = args
        code = f"(self.one * {value.code})" if value.integer else value.code
        return w.let(e.function, template.format(code), value.axes, value.event[:-1])

    return compile_


def larger_or_smaller(w: "Writer", function: str, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
    """`max(a, b)` and `min(a, b)`, elementwise."""
    event = max((v.event for v in args), key=len)
    codes = [align(v, axes, len(event)) for v in args]
    codes = [f"self.one * {code}" if v.scalar or v.integer else code for v, code in zip(args, codes, strict=True)]
    return w.let(f"{function}imum", f"torch.{function}imum({', '.join(codes)})", axes, event)


def _softmax(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
    (value,) = args
    return Value(value.code, value.axes, value.event, "logits")


def _sigmoid(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
    (value,) = args
    code = f"(self.one * {value.code})" if value.scalar else value.code
    return Value(code, value.axes, value.event, "logit")


def _dot(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
    """Products of matrices where the two have no axis in common, or where one is a matrix itself."""
    args = [real(w, value) for value in args]
    if len(args[0].event) + len(args[1].event) == 3:
        return _with_matrix(w, e, args, axes)
    for one, other in (args, args[::-1]):
        if axes == one.axes + other.axes and len(other.axes) < 2:
            return w.let("dot", f"F.linear({one.code}, {other.code})" if other.axes else f"{one.code} @ {other.code}", axes)
    left, right = (align(value, axes) for value in args)
    return w.let("dot", f"({left} * {right}).sum(-1)", axes)


def _with_matrix(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
    """A vector times a matrix, or a matrix times a vector; a matrix that is the same everywhere stands on the right."""
    left, right = args
    one, other = (align(value, axes) for value in args)
    if len(left.event) == 1:
        code = f"({one}.unsqueeze(-2) @ {other}).squeeze(-2)" if right.axes else f"{left.code} @ {right.code}"
    else:
        code = f"({one} @ {other}.unsqueeze(-1)).squeeze(-1)" if left.axes else f"F.linear({right.code}, {left.code})"
    return w.let("dot", code, axes, e.type.shape)


def _ordinal(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
    """Log-probabilities of the intervals between cuts."""
    place, cuts = (real(w, value) for value in args)
    function = w.needs.kernel("vispec.kernels.probability", "ordinal_log_probs")
    code = f"(self.one * {place.code})" if place.scalar else align(place, axes)
    return w.let("log_ordinal", f"{function}({code}, {align(cuts, axes)})", axes, e.type.shape, "log")


def _concat(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
    parts = [v if v.event else w.let("part", f"{v.code}[..., None]", v.axes, (1,)) for v in args]
    codes = [align(v, axes) for v in parts]
    lead = ", ".join(f"{code}.shape[:-1]" for code in codes)
    shape = w.let("lead", f"torch.broadcast_shapes({lead})") if any(v.axes != axes for v in parts) else None
    joined = ", ".join(f"{c}.expand(*{shape.code}, -1)" if shape else c for c in codes)
    return w.let("concat", f"torch.cat([{joined}], -1)", axes, e.type.shape)


def _one_hot(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
    (value,) = args
    size = w.dim(e.type.shape[0])
    code = f"torch.tensor({value.code}, device=self.one.device)" if value.scalar else value.code
    return w.let("one_hot", f"F.one_hot({code}, {size}).to(self.one.dtype)", value.axes, e.type.shape)


def _cast(domain: str) -> Compile:
    def compile_(w: "Writer", e: Apply, args: Sequence[Value], axes: tuple[str, ...]) -> Value:
        """The value as it is; where padding stands, one that lies in the domain."""
        value = real(w, args[0])
        if value.scalar:
            return value
        function = w.needs.kernel("vispec.kernels.casts", f"surely_{domain}")
        ragged = [axis for axis in value.axes if axis in w.model.plate and w.model.plate[axis].ragged]
        code, found, rank = value.code, value.axes, len(value.event)
        if ragged:
            inside = [w.inside(axis) for axis in ragged]
            found = w.sort({*value.axes, *(axis for mask in inside for axis in mask.axes)})
            masks = " & ".join(align(mask, found) for mask in inside)
            masks = f"({masks})[..., {', '.join(['None'] * rank)}]" if rank else masks
            code = f"torch.where({masks}, {align(value, found)}, {MISSING.get(domain, 0)})"
        said = " ".join(w.model.source.text[e.span.start : e.span.end].split())
        return w.let(domain, f'{function}({code}, "`{said}`{_owner(w, e)}")', found, value.event)

    return compile_


def _owner(w: "Writer", e: Apply) -> str:
    """Whose law or value the expression stands in."""
    laws = [(variable.name, variable.law) for variable in w.model.variables if variable.law is not None]
    parts = [(name, part) for name, law in laws for part in law_parts(law)] + [(let.name, let.value) for let in w.model.lets]
    return next((f" of `{name}`" for name, part in parts if any(inner is e for inner in walk(part))), "")


FUNCTIONS: dict[str, Compile] = {
    **{domain: _cast(domain) for domain in ("unit", "positive", "count", "simplex")},
    **{name: _elementwise(template) for name, template in ELEMENTWISE.items()},
    **{name: _reduction(template) for name, template in REDUCTIONS.items()},
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "dot": _dot,
    "ordinal": _ordinal,
    "concat": _concat,
    "one_hot": _one_hot,
}
