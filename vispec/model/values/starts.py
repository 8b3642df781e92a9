"""`param mu : real = 2.5`: the value that a parameter starts at, made of numbers and sizes."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from vispec.model import dims
from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.names.sizes import size_named
from vispec.model.types import Dim, Type
from vispec.syntax import tree as t

Value = float | tuple["Value", ...]

REAL = Type("real")
TRIED = (2, 3)  # values of sizes that only the data tell: a start has to suit any
CLOSE = 1e-5  # of the sum of a simplex, whose entries may be rounded
ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a**b,
}


def read_start(scope: Scope, node: t.Param, kind: Type, fixed: bool) -> m.Expression | None:
    """The written start of a parameter of this type; None where it is wrong, which is reported. fixed: it stays there, so it
    may lie at the edge of its domain, from where no step would lead."""
    assert node.value is not None
    found = _resolve(scope, node.value)
    if found is None or not _fits(scope, node, found, kind):
        return None
    unknown = [name for name in (*_names(found), *_unknown(kind)) if name not in scope.values]
    for size in TRIED if unknown else TRIED[:1]:
        values = dict.fromkeys(unknown, size) | scope.values
        try:
            value = evaluate(found, values)
        except (ArithmeticError, TypeError):  # a power of a negative number is complex
            scope.problems.add("V309", node.value.span, "this start is no number", "cannot be computed")
            return None
        lengths = [dims.evaluate(dim, values) for dim in kind.shape]
        problem = outside(value, kind, fixed, lengths[-1] if lengths else None)
        if problem is not None:
            _refuse(scope, node, kind, value, problem, bool(unknown) and size)
            return None
    return found


def evaluate(value: m.Expression, sizes: Mapping[str, int]) -> Value:
    """A start as numbers: one, or for a vector a tuple of them. ArithmeticError or TypeError where it is no real number."""
    match value:
        case m.Const(value=number):
            return float(number)
        case m.SizeOf(name=name):
            return float(sizes[name])
        case m.Stack(items=items):
            return tuple(evaluate(item, sizes) for item in items)
        case m.Apply(function="neg", args=(operand,)):
            return -_number(operand, sizes)
        case m.Apply(function=function, args=(left, right)):
            return float(ARITHMETIC[function](_number(left, sizes), _number(right, sizes)))
    raise AssertionError(f"no start: {value}")


def outside(value: Value, kind: Type, fixed: bool, length: int | None) -> str | None:
    """What keeps a value out of a type's domain; None where it lies in it. length: of the type's last dimension, which one
    number stands for all along."""
    if isinstance(value, tuple) and value and isinstance(value[0], tuple) and kind.domain != "cholesky":
        return next((found for item in value if (found := outside(item, kind, fixed, length))), None)
    rows = value if isinstance(value, tuple) else (value,) * (length or 1)
    if kind.domain == "cholesky":
        return _not_cholesky([row if isinstance(row, tuple) else (row,) * len(rows) for row in rows])
    numbers = [number for number in rows if isinstance(number, float)]
    if not all(map(math.isfinite, numbers)):
        return "it is not finite"
    if kind.domain == "positive" and min(numbers) <= 0:
        return "a positive number is above 0"
    if kind.domain == "unit" and not 0 <= min(numbers) <= max(numbers) <= 1:
        return "it lies from 0 to 1"
    if kind.domain == "simplex" and (min(numbers) < 0 or abs(math.fsum(numbers) - 1) > CLOSE):
        return "the entries of a simplex are at least 0 and their sum is 1"
    if kind.domain == "ordered" and any(b <= a for a, b in pairwise(numbers)):
        return "ordered numbers increase"
    ends = {"unit": (0, 1), "simplex": (0,)}.get(kind.domain, ())
    if not fixed and any(number in ends for number in numbers):
        return "no step leads away from the edge of its domain; only what `fit: fixed` names may stay there"
    return None


def _not_cholesky(rows: Sequence[Sequence[Value]]) -> str | None:
    above = any(row[j] != 0 for i, row in enumerate(rows) for j in range(i + 1, len(row)))
    lower = all(len(row) == len(rows) and isinstance(row[i], float) and row[i] > 0 for i, row in enumerate(rows))  # type: ignore[operator]
    return None if lower and not above else "a Cholesky factor has 0 above its diagonal and positive numbers on it"


def _refuse(scope: Scope, node: t.Param, kind: Type, value: Value, problem: str, size: int | bool) -> None:
    assert node.value is not None
    shown = f"{value:g}" if isinstance(value, float) else "this vector"
    at = f", where sizes are {size}" if size else ""
    scope.problems.add(
        "V309", node.value.span, f"`{node.name.id}` is {kind} and cannot start at {shown}{at}: {problem}", "outside its domain"
    )


def _number(node: m.Expression, sizes: Mapping[str, int]) -> float:
    value = evaluate(node, sizes)
    assert isinstance(value, float)
    return value


def _names(value: m.Expression) -> list[str]:
    match value:
        case m.SizeOf(name=name):
            return [name]
        case m.Stack(items=parts) | m.Apply(args=parts):
            return [name for part in parts for name in _names(part)]
    return []


def _unknown(kind: Type) -> list[str]:
    """The sizes that a type's shape is made of."""
    return sorted({name for dim in kind.shape if isinstance(dim, str) for name in dims.names(dim)})


def _resolve(scope: Scope, node: t.Expr, inside: bool = False) -> m.Expression | None:
    """Numbers, sizes, arithmetic of those, and at the outside lists."""
    match node:
        case t.Number(value=value):
            return m.Const(node.span, REAL, value)
        case t.Name():
            return m.SizeOf(node.span, REAL, node.id) if size_named(scope, node) is not None else None
        case t.Unary(op="-", operand=operand):
            part = _resolve(scope, operand, inside=True)
            return None if part is None else m.Apply(node.span, REAL, "neg", (part,))
        case t.Binary(op="+" | "-" | "*" | "/" | "^", left=left, right=right):
            parts = [part for side in (left, right) if (part := _resolve(scope, side, inside=True)) is not None]
            return m.Apply(node.span, REAL, node.op, tuple(parts)) if len(parts) == 2 else None
        case t.ListOf(items=items) if not inside and items:
            parts = [part for item in items if (part := _resolve(scope, item)) is not None]
            return m.Stack(node.span, REAL, tuple(parts)) if len(parts) == len(items) else None
    help = "write numbers, sizes, `+ - * / ^` of those, or for a vector a list `[1, 2]`; --params gives any other start"
    scope.problems.add("V322", node.span, "a parameter starts at a number made of numbers and sizes", "neither", help=help)
    return None


def _fits(scope: Scope, node: t.Param, found: m.Expression, kind: Type) -> bool:
    """Whether a list has the type's shape; one number suits any."""
    lengths = list_shape(found)
    if lengths == ():
        return True
    value, each = node.value, f"{kind}" + (" for each element of its plates" if scope.symbols[node.name.id].plates else "")
    assert value is not None
    if lengths is None:
        scope.problems.add("V308", value.span, "the rows of this list differ in length", "no matrix")
        return False
    if len(lengths) == len(kind.shape) and all(_same(scope, a, b) for a, b in zip(lengths, kind.shape, strict=True)):
        return True
    if len(lengths) == len(kind.shape):
        told = f"{' × '.join(map(str, lengths))} numbers for {' × '.join(scope.shown(dim) for dim in kind.shape)}"
        help = "write as many as the type has, whose sizes are then numbers; or one number, which stands for all"
    else:
        told = f"a list of {len(lengths)} dimensions"
        help = "one number stands for all; to start each element of a plate elsewhere, use a vector or --params"
    scope.problems.add("V308", value.span, f"`{node.name.id}` is {each}, and this is {told}", "does not fit", help=help)
    return False


def _same(scope: Scope, length: int, dim: Dim) -> bool:
    return dims.evaluate(dim, scope.values) == length


def list_shape(value: m.Expression) -> tuple[int, ...] | None:
    """The lengths of nested lists, () of one number; None where they differ."""
    if not isinstance(value, m.Stack):
        return ()
    inner = {list_shape(item) for item in value.items}
    rest = inner.pop()
    return None if inner or rest is None else (len(value.items), *rest)
