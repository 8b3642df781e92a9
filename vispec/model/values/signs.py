"""What is sure of a value from how it is made, where its type alone does not say it: its sign, that it is a share, its sum."""

import math

from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.values.functions import plain

POSITIVE = frozenset({"positive", "unit"})
NOT_NEGATIVE = POSITIVE | {"count", "bit"}
KEEP = frozenset({"+", "*", "/", "sum", "mean", "max", "min", "dot", "sqrt"})  # of numbers from 0 up, again one from 0 up


def text(scope: Scope, value: m.Expression) -> str:
    """The expression as it is written."""
    return scope.source.text[value.span.start : value.span.end]


def never_negative(scope: Scope, value: m.Expression) -> bool:
    """Whether every number in the value is surely 0 or above."""
    if isinstance(value, m.Const) or plain(value.type.domain) in NOT_NEGATIVE:
        return not isinstance(value, m.Const) or value.value >= 0
    match value:
        case m.Apply(function="abs" | "relu"):
            return True
        case m.Apply(function="^", args=(base, power)):
            return never_negative(scope, base) or (isinstance(power, m.Const) and power.value % 2 == 0)
        case m.Apply(function="*" | "dot", args=(left, right)) if text(scope, left) == text(scope, right):
            return True
        case m.Apply(function=function, args=args) if function in KEEP:
            return all(never_negative(scope, argument) for argument in args)
        case m.Stack(items=items):
            return all(never_negative(scope, item) for item in items)
        case m.For(body=body):
            return never_negative(scope, body)
        case m.Conditional(then=then, otherwise=otherwise):
            return never_negative(scope, then) and never_negative(scope, otherwise)
        case _:
            return False


def above_zero(scope: Scope, left: m.Expression, right: m.Expression) -> bool:
    """Whether a sum is surely above 0: one term is, and the other is not below."""
    if not never_negative(scope, left) or not never_negative(scope, right):
        return False
    return any(value.value > 0 if isinstance(value, m.Const) else value.type.domain in POSITIVE for value in (left, right))


def is_share(scope: Scope, part: m.Expression, whole: m.Expression) -> bool:
    """Whether `part / whole` is `a / (a + b)`, of a sum above 0 whose terms are not below."""
    return whole.type.domain in POSITIVE and any(text(scope, term) == text(scope, part) for term in _terms(scope, whole))


def is_probability(scope: Scope, value: m.Expression) -> bool:
    """Whether every number in the value surely lies between 0 and 1, both included."""
    match value:
        case m.Const(value=number):
            return 0 <= number <= 1
        case m.Ref(name=name) | m.Select(name=name) | m.All(name=name) if (found := scope.symbols[name].value) is not None:
            return is_probability(scope, found)
        case m.Apply(function="-", args=(m.Const(value=1), taken)):
            return is_probability(scope, taken)
        case m.Apply(function="^", args=(base, power)):
            return is_probability(scope, base) and never_negative(scope, power)
        case m.Apply(function="/", args=(part, whole)):
            return is_share(scope, part, whole)
        case m.Apply(function="+", args=(left, right)):
            return _is_mixture(scope, left, right)
        case m.Apply(function="*" | "max" | "min" | "mean", args=args) | m.Stack(items=args):
            return all(is_probability(scope, argument) for argument in args)
        case m.Conditional(then=then, otherwise=otherwise):
            return is_probability(scope, then) and is_probability(scope, otherwise)
        case _:
            return plain(value.type.domain) in ("unit", "bit")


def _is_mixture(scope: Scope, left: m.Expression, right: m.Expression) -> bool:
    """Whether they are `w * p` and `(1 - w) * q`, of p and q between 0 and 1."""
    if not is_probability(scope, left) or not is_probability(scope, right):
        return False
    pairs = [(a, b) for a in _factors(left) for b in _factors(right)]
    return any(_rest_of(scope, a, b) or _rest_of(scope, b, a) for a, b in pairs)


def _factors(value: m.Expression) -> tuple[m.Expression, ...]:
    match value:
        case m.Apply(function="*", args=(left, right)):
            return (*_factors(left), *_factors(right))
        case _:
            return (value,)


def _terms(scope: Scope, value: m.Expression) -> tuple[m.Expression, ...]:
    """What a sum adds up; nothing where a term may be below 0."""
    if not isinstance(value, m.Apply) or value.function != "+":
        return (value,)
    nested = [_terms(scope, argument) for argument in value.args if never_negative(scope, argument)]
    return tuple(term for terms in nested for term in terms) if len(nested) == len(value.args) else ()


def literal_numbers(value: m.Expression) -> tuple[int | float, ...]:
    """The entries of a list of numbers written out; none where it is anything else."""
    items = value.items if isinstance(value, m.Stack) else ()
    numbers = tuple(item.value for item in items if isinstance(item, m.Const))
    return numbers if len(numbers) == len(items) else ()


def is_distribution(scope: Scope, value: m.Expression) -> bool:
    """Whether a vector that is no simplex by its type is one by how it is made."""
    match value:
        case m.Apply(function="one_hot"):
            return True
        case m.Stack(items=items):
            numbers = literal_numbers(value)
            if numbers:
                return min(numbers) >= 0 and math.isclose(sum(numbers), 1, rel_tol=0, abs_tol=1e-6)
            rest = [item for item in items if not (isinstance(item, m.Const) and item.value == 0)]
            return len(rest) == 2 and (_rest_of(scope, *rest) or _rest_of(scope, *reversed(rest)))
        case _:
            return False


def _rest_of(scope: Scope, part: m.Expression, rest: m.Expression) -> bool:
    """Whether they are p and `1 - p`, of p in the unit interval."""
    match rest:
        case m.Apply(function="-", args=(m.Const(value=1), taken)):
            return is_probability(scope, part) and text(scope, taken) == text(scope, part)
        case _:
            return False
