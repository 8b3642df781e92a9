"""Settings as written: numbers, words, truth values and lists of them, where no expression of the model may stand."""

from vispec.model import model as m
from vispec.syntax import tree as t


def literal(node: t.Expr | t.Comprehension | t.Schedule) -> m.Setting:
    """The setting's value: a number (arithmetic on numbers included), text, a word as text, true, false, or a tuple of those.

    Raises ValueError where it is an expression."""
    match node:
        case t.Number(value=value) | t.String(value=value):
            return value
        case t.Name(id="true" | "false" as word):
            return word == "true"
        case t.Name(id=word):
            return None if word == "none" else word
        case t.ListOf(items=items):
            return tuple(literal(item) for item in items)
        case t.Unary(op="-", operand=operand):
            return -_number(operand)
        case t.Binary(op="+", left=left, right=right):
            return _number(left) + _number(right)
        case t.Binary(op="-", left=left, right=right):
            return _number(left) - _number(right)
        case t.Binary(op="*", left=left, right=right):
            return _number(left) * _number(right)
        case t.Binary(op="/", left=left, right=right) if _number(right):
            return _number(left) / _number(right)
        case t.Binary(op="^", left=left, right=right):
            return _power(_number(left), _number(right))
    raise ValueError("not a literal")


def _number(node: t.Expr) -> int | float:
    value = literal(node)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise ValueError("not a number")
    return value


def _power(base: int | float, exponent: int | float) -> int | float:
    if abs(exponent) > 1024 or abs(base) > 1e6 or (base == 0 and exponent < 0):
        raise ValueError("too large")
    try:
        value = base**exponent
    except OverflowError:
        raise ValueError("too large") from None
    if isinstance(value, complex):
        raise ValueError("not a real number")
    return value


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
