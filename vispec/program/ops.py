"""The elementwise operations: how many arguments, the dtype of the result, and the value where all arguments are constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vispec.program.node import Dtype

Kinds = tuple[Dtype, ...]


@dataclass(frozen=True)
class Op:
    """arity None: any number. fold: the value of constants in Python; None where it is left to the module."""

    arity: int | None
    dtype: Callable[[Kinds], Dtype]
    fold: Callable[..., Any] | None = None


def widest(kinds: Kinds) -> Dtype:
    """real before int before bool."""
    return "real" if "real" in kinds else "int" if "int" in kinds else "bool"


def arithmetic(kinds: Kinds) -> Dtype:
    """Truths are counted."""
    return "real" if "real" in kinds else "int"


def real(kinds: Kinds) -> Dtype:
    return "real"


def truth(kinds: Kinds) -> Dtype:
    return "bool"


def whole(kinds: Kinds) -> Dtype:
    return "int"


def chosen(kinds: Kinds) -> Dtype:
    return widest(kinds[1:])


def _divide(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 else math.copysign(math.inf, left) * math.copysign(1, right)
    return left / right


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _sigmoid(x: float) -> float:
    return 1 / (1 + _exp(-x)) if x >= 0 else _exp(x) / (1 + _exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(_exp(-abs(x)))


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)


OPS: dict[str, Op] = {
    "add": Op(None, arithmetic, lambda *xs: sum(xs)),
    "mul": Op(None, arithmetic, lambda *xs: math.prod(xs)),
    "sub": Op(2, arithmetic, lambda x, y: x - y),
    "div": Op(2, real, _divide),
    "floor_div": Op(2, arithmetic),
    "mod": Op(2, arithmetic),
    "neg": Op(1, arithmetic, lambda x: -x),
    "pow": Op(2, real),
    "int_pow": Op(2, whole, pow),
    "square": Op(1, arithmetic, lambda x: x * x),
    "abs": Op(1, arithmetic, abs),
    "sign": Op(1, arithmetic, _sign),
    "exp": Op(1, real, _exp),
    "expm1": Op(1, real, lambda x: math.expm1(x) if x < 700 else math.inf),
    "log": Op(1, real, _log),
    "log1p": Op(1, real, lambda x: math.log1p(x) if x > -1 else _log(1 + x)),
    "sqrt": Op(1, real, lambda x: math.sqrt(x) if x >= 0 else math.nan),
    "sigmoid": Op(1, real, _sigmoid),
    "log_sigmoid": Op(1, real, lambda x: -_softplus(-x)),
    "softplus": Op(1, real, _softplus),
    "tanh": Op(1, real, math.tanh),
    "sin": Op(1, real, math.sin),
    "cos": Op(1, real, math.cos),
    "erf": Op(1, real, math.erf),
    "ndtr": Op(1, real, lambda x: 0.5 * math.erfc(-x / math.sqrt(2))),
    "lgamma": Op(1, real),
    "floor": Op(1, real, math.floor),
    "round": Op(1, real, round),
    "min": Op(None, widest, min),
    "max": Op(None, widest, max),
    "eq": Op(2, truth, lambda x, y: x == y),
    "lt": Op(2, truth, lambda x, y: x < y),
    "le": Op(2, truth, lambda x, y: x <= y),
    "and": Op(None, truth, lambda *xs: all(xs)),
    "or": Op(None, truth, lambda *xs: any(xs)),
    "not": Op(1, truth, lambda x: not x),
    "where": Op(3, chosen),
    "real": Op(1, real, float),
    "wide": Op(1, real),
    "narrow": Op(1, real),
    "int": Op(1, whole, int),
    "bool": Op(1, truth, bool),
}
"""where(test, then, otherwise): the branch that is not taken sends no gradient, whatever its value. int_pow: of whole
numbers, the second not negative. round halves to even. real, int, bool: conversions. wide: the number in float64, whatever
the module's dtype; narrow: in that again."""
