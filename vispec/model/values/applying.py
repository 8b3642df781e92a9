"""Operators and functions on resolved values: what they take, and the type of what they give."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from vispec.model import model as m
from vispec.model.names.scope import Context, Scope
from vispec.model.nets.nets import convert
from vispec.model.types import Dim, Type
from vispec.model.values.conform import const, domain_fits, is_ragged_sequence, shape_of
from vispec.model.values.functions import FUNCTIONS, Function, is_number, joined
from vispec.model.values.products import intervals, product
from vispec.model.values.ranges import COMPARISONS, range_of, typed
from vispec.source import Span
from vispec.syntax import tree as t

FOLDED: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}
Values = tuple[m.Expression, ...]


def is_scalar(scope: Scope, value: m.Expression, span: Span, what: str) -> bool:
    """Whether a value is a single number; anything else is reported."""
    if value.type.star:
        message = f"{what} is a single number, and this is a sequence"
        scope.problems.add("V314", span, message, f"`{value.type}`", help="write it for one element")
    elif value.type.shape:
        scope.problems.add("V308", span, f"{what} is a single number, and this is `{value.type}`", "has several entries")
    elif not is_number(value.type):
        message = f"{what} is a number, and this is `{value.type}`"
        scope.problems.add("V310", span, message, "a label, not a number", help=convert(value.type, "real"))
    else:
        return True
    return False


def condition(scope: Scope, value: m.Expression) -> bool:
    """Whether a value is true or false; anything else is reported."""
    if value.type.domain == "bit" and not value.type.star:
        return True
    help = "compare it with something: `z == 1`"
    scope.problems.add(
        "V316", value.span, f"a condition is a bit or a comparison, and this is `{value.type}`", "not a condition", help=help
    )
    return False


def apply_operator(scope: Scope, span: Span, op: str, values: Values) -> m.Expression | None:
    """Arithmetic, a comparison, or logic."""
    if any([_is_sequence(scope, value) for value in values]):
        return None
    if op in ("and", "or"):
        if not all([condition(scope, value) for value in values]):
            return None
    elif op in ("==", "!=") and all(
        value.type.domain in ("category", "token", "index", "tree") or isinstance(value, m.Const) for value in values
    ):
        if not _comparable(scope, span, values):
            return None
    elif not all([_is_number(scope, value) for value in values]):
        return None
    shape = _common_shape(scope, values)
    if shape is None:
        return None
    if op in COMPARISONS or op in ("and", "or"):
        return m.Apply(span, Type("bit", shape, card=2), op, values)
    match values:
        case (m.Const(value=left), m.Const(value=right)):
            return _fold(scope, span, op, left, right)
        case _:
            return typed(scope, m.Apply(span, Type("real", shape), op, values))


def _fold(scope: Scope, span: Span, op: str, left: float, right: float) -> m.Const | None:
    """Two numbers are one number; the result must exist."""
    try:
        value = FOLDED[op](left, right) if op != "^" or abs(right) <= 1024 else float(left) ** right
        if isinstance(value, int):
            float(value)
        if isinstance(value, complex) or value != value or value in (float("inf"), float("-inf")):
            raise OverflowError
    except (ArithmeticError, ValueError):
        scope.problems.add(
            "V310", span, f"{left} {op} {right} is not a number", "has no value", help="write a number that exists"
        )
        return None
    return const(value, span)


def _is_sequence(scope: Scope, value: m.Expression) -> bool:
    if not is_ragged_sequence(scope, value) and not value.type.star:
        return False
    over = value.type.over or "i"
    help = f"write it for one element, and gather: `sum(... for {over})`, or reduce the sequence first: `mean({_text(value)})`"
    scope.problems.add(
        "V314", value.span, "arithmetic is on single elements, and this is a whole sequence", "a sequence", help=help
    )
    return True


def _text(value: m.Expression) -> str:
    return f"{value.name}[*]" if isinstance(value, m.All) else "..."


def _is_number(scope: Scope, value: m.Expression) -> bool:
    if is_number(value.type):
        return True
    message = f"`{value.type}` is a label: it can be compared for equality, but is not a number"
    help = "look something up for each of its values: `param w : real[K]`, `w[c]`"
    if value.type.domain == "category":
        help += "; a number that is counted from 0 is an `index[p]`, of a plate that may be empty: `plate p[K]`"
    scope.problems.add("V310", value.span, message, "not a number", help=help)
    return False


def _comparable(scope: Scope, span: Span, values: Values) -> bool:
    """Whether two labels can be equal at all."""
    left, right = values
    if left.type.labels is not None and right.type.labels is not None and left.type.labels != right.type.labels:
        message = "these are compared by their places, and their labels are not the same"
        scope.problems.add("V310", span, message, "other labels", help="give both the same labels, in the same order")
        return False
    for kind, other in ((left, right), (right, left)):
        if isinstance(kind, m.Const):
            continue
        if domain_fits(scope, other, "category" if isinstance(other, m.Const) else kind.type.domain, scope.card(kind.type)):
            return True
    if isinstance(left, m.Const) and isinstance(right, m.Const):
        return True
    message = f"`{left.type}` and `{right.type}` are never equal: they are labels of different things"
    cause = (left.span, f"`{left.type}`")
    scope.problems.add("V310", right.span, message, f"`{right.type}`", cause=cause, help="compare values of one type")
    return False


def _common_shape(scope: Scope, values: Sequence[m.Expression]) -> tuple[Dim, ...] | None:
    """The shape of an elementwise result: scalars go with anything, everything else must agree."""
    shaped = [value for value in values if value.type.shape]
    for value in shaped[1:]:
        if not scope.same_shape(value.type.shape, shaped[0].type.shape):
            message = f"the shapes `{value.type}` and `{shaped[0].type}` do not fit together"
            cause = (shaped[0].span, f"`{shaped[0].type}`")
            scope.problems.add(
                "V308", value.span, message, f"`{value.type}`", cause=cause, help="use equal shapes, or a single number"
            )
            return None
    return shaped[0].type.shape if shaped else ()


# ---- functions

PRODUCTS = {"dot": product, "ordinal": intervals}


def apply_function(scope: Scope, context: Context, node: t.Call, values: Values) -> m.Expression | None:
    """A function of the language on its arguments."""
    name = node.function.id
    function = FUNCTIONS[name]
    least = 2 if function.kind in PRODUCTS else 1
    most = 2 if name in ("max", "min") else function.most
    if not least <= len(values) <= most:
        takes = str(least) if least == most else f"{least} or {most}" if most < 9 else f"at least {least}"
        message = f"`{name}` takes {takes} {'argument' if takes == '1' else 'arguments'}, and gets {len(values)}"
        scope.problems.add(
            "V311", node.span, message, f"{len(values)} given", help=f"write `{name}({', '.join('...' for _ in range(least))})`"
        )
        return None
    if function.kind == "one_hot":
        return _one_hot(scope, node, values[0])
    if function.kind == "seen":
        return _seen(scope, context, node, values[0])
    if function.kind != "reduce" and any([_is_sequence(scope, v) for v in values if is_ragged_sequence(scope, v)]):
        return None
    if not all([_takes(scope, name, function, value) for value in values]):
        return None
    kind = _result(scope, node, function, values)
    if kind is None:
        return None
    found = m.Apply(node.span, kind, name, values)
    return found if kind.domain == "simplex" or function.gives is not None else typed(scope, found)


def _takes(scope: Scope, name: str, function: Function, value: m.Expression) -> bool:
    if not _is_number(scope, value):
        return False
    if function.domain != "positive" or _is_above_zero(scope, value, function.zero):
        return True
    found = range_of(scope, value)
    message = f"`{name}` is of positive numbers, and this `{value.type}` lies in {found}"
    keeps = "`positive(...)` around it says that it surely is, and is checked"
    label, other = "may be negative", _made_positive(scope, value)
    if found.never_negative:
        label, other = "may be 0", f"a number added, `{name}(... + 0.001)`, makes it another value"
    scope.problems.add("V309", value.span, message, label, help=f"{keeps}; {other}")
    return False


def _is_above_zero(scope: Scope, value: m.Expression, zero: bool) -> bool:
    """Whether every number in it is above 0; or, where `zero` is taken, a count or bit."""
    if isinstance(value, m.Stack):
        return all(_is_above_zero(scope, item, zero) for item in value.items)
    found = range_of(scope, value)
    return found.above_zero or (zero and found.whole and found.never_negative)


def _made_positive(scope: Scope, value: m.Expression) -> str:
    symbol = scope.symbols.get(value.name) if isinstance(value, m.Ref | m.All | m.Past | m.Select) else None
    other = "`exp(...)` or `softplus(...)` around it is another number, above 0"
    given = symbol is not None and isinstance(symbol.node, t.Variable) and symbol.node.role == "given"
    return f"declare `{symbol.name}` as `positive`, if it is; {other}" if symbol is not None and given else other


def _result(scope: Scope, node: t.Call, function: Function, values: Values) -> Type | None:
    """The shape of a function's value, with its domain where the function says one."""
    first = values[0]
    shape = shape_of(scope, first)
    domain = function.gives or "real"
    match function.kind:
        case "map":
            return Type(domain, shape)
        case "cast" if domain != "simplex":
            return Type(domain, shape)
        case "concat":
            flat = [value for value in values if len(shape_of(scope, value)) <= 1]
            if len(flat) == len(values):
                return Type(domain, joined(tuple(shape_of(scope, value) for value in values)))
            return _not_vector(scope, node, next(v for v in values if v not in flat))
        case "dot" | "ordinal":
            return PRODUCTS[function.kind](scope, node, *values)
        case "vector" | "cast":
            return Type(domain, shape) if len(shape) == 1 else _not_vector(scope, node, first)
    if len(values) == 2:
        common = _common_shape(scope, values)
        return None if common is None or any([_is_sequence(scope, v) for v in values]) else Type(domain, common)
    if first.type.star:
        return Type(domain, first.type.shape)
    return Type(domain, shape[:-1]) if shape else _not_vector(scope, node, first)


def _not_vector(scope: Scope, node: t.Call, value: m.Expression) -> None:
    name = node.function.id
    message = f"`{name}` takes a vector, and this is `{value.type}`"
    help = f"write a vector, such as `{name}(... for k)` over a plate"
    scope.problems.add("V308", value.span, message, "not a vector", help=help)


def _one_hot(scope: Scope, node: t.Call, value: m.Expression) -> m.Expression | None:
    card = scope.card(value.type)
    if (
        value.type.domain in ("category", "token", "index")
        and card is not None
        and not value.type.shape
        and not value.type.star
    ):
        return m.Apply(node.span, Type("bit", (card,), card=2), "one_hot", (value,))
    message = f"`one_hot` takes one category, token or index, and this is `{value.type}`"
    scope.problems.add("V309", value.span, message, "not a single label")
    return None


def _seen(scope: Scope, context: Context, node: t.Call, value: m.Expression) -> m.Expression | None:
    """Whether the data has a partial variable: at its own element, or in the past, or of a whole sequence at each."""
    symbol = scope.symbols.get(value.name) if isinstance(value, m.Ref | m.All | m.Past) else None
    partial = symbol is not None and isinstance(symbol.node, t.Variable) and symbol.node.role == "partial"
    if partial and context.guide:
        return m.Apply(node.span, replace(value.type, domain="bit", shape=(), card=2, plate=None), "seen", (value,))
    if partial:
        message = "which cells are missing is said by the data, so only a guide may read it"
        help = "give it as data of its own: `given known : bit`"
        scope.problems.add("V321", node.span, message, "in the model", help=help)
    else:
        message = "`seen` is of a partial variable, whose values the data may lack"
        help = "write `seen(y)`, `seen(y[*])` or `seen(y[t-1])`"
        scope.problems.add("V321", value.span, message, "no partial variable", help=help)
    return None
