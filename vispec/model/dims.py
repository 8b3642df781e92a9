"""Sizes as polynomials: arithmetic, one canonical text per size, and its value once the names in it are known.

A `Dim` is a number or canonical text such as "2 * Z + 1" over names of sizes and vocabularies; "|j|" is the size of ragged
plate j.
"""

import ast
import re
from collections.abc import Mapping
from functools import lru_cache, reduce

from vispec.model.types import Dim

Poly = dict[tuple[str, ...], int]
"""Monomial (its factors, sorted) → coefficient. A factor is a name, or the text of a quotient or power left as it is."""

_NAME = re.compile(r"[^\W\d]\w*")
_RAGGED = re.compile(r"\|(\w+)\|")
LONGEST = 64  # terms of a size; beyond, it is a mistake or a joke


def ragged(plate: str) -> str:
    """The size of a plate that differs from row to row."""
    return f"|{plate}|"


def poly(dim: Dim) -> Poly:
    """The polynomial that a Dim stands for."""
    if isinstance(dim, int):
        return {(): dim} if dim else {}
    if _RAGGED.fullmatch(dim):
        return {(dim,): 1}
    return _poly(read(dim))


def _poly(node: ast.expr) -> Poly:
    match node:
        case ast.Constant(value=int(value)):
            return {(): value} if value else {}
        case ast.Name(id=name):
            return {(name[:-1],): 1}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _scale(_poly(operand), -1)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _add(_poly(left), _poly(right))
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _add(_poly(left), _scale(_poly(right), -1))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _multiply(_poly(left), _poly(right))
        case ast.BinOp(left=left, op=op, right=right):
            sign = "//" if isinstance(op, ast.FloorDiv) else "**"
            return {(_atom(_dim(_poly(left)), sign, _dim(_poly(right))),): 1}
    raise ValueError(f"not a size: {ast.dump(node)}")


def _add(left: Poly, right: Poly) -> Poly:
    total = {key: left.get(key, 0) + right.get(key, 0) for key in left | right}
    return {key: value for key, value in total.items() if value}


def _scale(value: Poly, factor: int) -> Poly:
    return {key: coefficient * factor for key, coefficient in value.items() if coefficient * factor}


def _multiply(left: Poly, right: Poly) -> Poly:
    """The product; ValueError where it has too many terms."""
    if len(left) * len(right) > LONGEST:
        raise ValueError("too many terms")
    parts = ({tuple(sorted(a + b)): x * y} for a, x in left.items() for b, y in right.items())
    return reduce(_add, parts, {})


def _dim(value: Poly) -> Dim:
    """The canonical Dim: higher powers first, then what is added before what is taken off, then by name."""
    if not any(value):
        return value.get((), 0)
    text = ""
    for key in sorted(value, key=lambda k: (-len(k), value[k] < 0, k)):
        size = abs(value[key])
        factors = ([] if size == 1 and key else [str(size)]) + [_factor(f, len(key) > 1 or size > 1) for f in key]
        sign = "-" if value[key] < 0 else "+"
        text += " * ".join(factors) if not text and sign == "+" else f" {sign} " + " * ".join(factors)
    return text.strip()


def _factor(text: str, inside: bool) -> str:
    return f"({text})" if inside and not (_NAME.fullmatch(text) or _RAGGED.fullmatch(text)) else text


def _atom(left: Dim, sign: str, right: Dim) -> str:
    def shown(dim: Dim) -> str:
        plain = (isinstance(dim, int) and dim >= 0) or _NAME.fullmatch(str(dim))
        return str(dim) if plain else f"({dim})"

    return f"{shown(left)} {sign} {shown(right)}"


def add(left: Dim, right: Dim) -> Dim:
    return _dim(_add(poly(left), poly(right)))


def subtract(left: Dim, right: Dim) -> Dim:
    return _dim(_add(poly(left), _scale(poly(right), -1)))


def multiply(left: Dim, right: Dim) -> Dim:
    return _dim(_multiply(poly(left), poly(right)))


def divide(left: Dim, right: Dim) -> Dim:
    """left / right, written as a floor division where it does not cancel; right must not be 0."""
    top = poly(left)
    if isinstance(right, int) and all(value % right == 0 for value in top.values()):
        return _dim({key: value // right for key, value in top.items()})
    return _dim({(_atom(left, "//", right),): 1})


def power(left: Dim, right: Dim) -> Dim:
    """left ^ right; a negative exponent is a ValueError."""
    if isinstance(right, int) and right < 0:
        raise ValueError("negative exponent")
    if isinstance(left, int) and isinstance(right, int) and right * left.bit_length() <= LONGEST**2:
        return left**right
    if isinstance(right, int) and right <= 4 and len(poly(left)) ** right <= LONGEST:
        return _dim(reduce(_multiply, [poly(left)] * right, {(): 1}))
    return _dim({(_atom(left, "**", right),): 1})


def names(dim: Dim) -> frozenset[str]:
    """Sizes and vocabularies that a Dim reads."""
    return frozenset() if isinstance(dim, int) or _RAGGED.fullmatch(dim) else frozenset(_NAME.findall(dim))


def evaluate(dim: Dim, values: Mapping[str, int]) -> int | None:
    """The number, or None where a name in it is not in `values`, or a quotient or power cannot be taken."""
    if isinstance(dim, int):
        return dim
    if _RAGGED.fullmatch(dim):
        return None
    return _evaluate(read(dim), values)


@lru_cache(1000)
def read(dim: str) -> ast.expr:
    """The arithmetic of a symbolic one, each name with `_` behind it, so that none is a word of Python."""
    return ast.parse(_NAME.sub(r"\g<0>_", dim), mode="eval").body


def _evaluate(node: ast.expr, values: Mapping[str, int]) -> int | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, int) else None
    if isinstance(node, ast.Name):
        return values.get(node.id[:-1])
    if not isinstance(node, ast.BinOp):
        inner = _evaluate(node.operand, values) if isinstance(node, ast.UnaryOp) else None
        return None if inner is None else -inner
    left, right = _evaluate(node.left, values), _evaluate(node.right, values)
    if left is None or right is None:
        return None
    match node.op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.FloorDiv():
            return left // right if right else None
        case _:
            return left**right if 0 <= right <= 64 else None
