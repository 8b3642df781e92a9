"""The functions of the language: how many arguments each takes, and what they must be. Where its values lie: see ranges.py."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vispec.model import dims
from vispec.model.types import Dim, Domain, Type

Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class Function:
    """kind: "map" acts on each number; "vector" needs a vector and keeps it; "reduce" takes a vector or a whole sequence to one
    element; "dot" and "ordinal" take two values of shapes that fit, see products.py; "concat" any number of vectors and
    scalars; "one_hot" a finite scalar; "seen" a partial variable; "cast" leaves a value as it is and says its domain.

    domain: what numbers an argument must be. zero: counts of 0 are taken where positive numbers are (log 0 is -∞). gives: the
    domain of the value, where it is not the narrowest that its range lies in."""

    kind: str
    domain: Domain = "real"
    gives: Domain | None = None
    most: int = 1  # arguments
    zero: bool = False


FUNCTIONS: Mapping[str, Function] = {
    "exp": Function("map"),
    "log": Function("map", "positive", zero=True),
    "sqrt": Function("map", "positive", zero=True),
    "abs": Function("map"),
    "sign": Function("map"),
    "floor": Function("map"),
    "round": Function("map"),
    "sigmoid": Function("map"),
    "tanh": Function("map"),
    "relu": Function("map"),
    "softplus": Function("map"),
    "sin": Function("map"),
    "cos": Function("map"),
    "erf": Function("map"),
    "Phi": Function("map"),
    "lgamma": Function("map", "positive"),
    "softmax": Function("vector", gives="simplex"),
    "sum": Function("reduce"),
    "mean": Function("reduce"),
    "max": Function("reduce"),
    "min": Function("reduce"),
    "dot": Function("dot", most=2),
    "ordinal": Function("ordinal", gives="simplex", most=2),
    "concat": Function("concat", most=99),
    "one_hot": Function("one_hot", "bit", gives="bit"),
    "seen": Function("seen", "bit", gives="bit"),
    "unit": Function("cast", gives="unit"),
    "positive": Function("cast", gives="positive"),
    "count": Function("cast", gives="count"),
    "simplex": Function("cast", gives="simplex"),
}

NUMERIC = frozenset({"real", "positive", "unit", "count", "bit", "simplex", "ordered", "cholesky"})
WHOLE = frozenset({"index", "tree"})  # an index is also a number: its place in the plate


def is_number(kind: Type) -> bool:
    """Whether arithmetic on it has a meaning; a category or token is only a label."""
    return kind.domain in NUMERIC or kind.domain in WHOLE


def plain(domain: Domain) -> Domain:
    """The domain of the single numbers in a value."""
    return {"simplex": "unit", "ordered": "real", "cholesky": "real", "index": "count", "tree": "count"}.get(domain, domain)  # type: ignore[return-value]


def joined(shapes: tuple[Shape, ...]) -> Shape:
    """The shape of scalars and vectors put end to end."""
    total: Dim = 0
    for shape in shapes:
        total = dims.add(total, shape[0] if shape else 1)
    return (total,)


def element(kind: Type) -> Type:
    """One element of a sequence."""
    return replace(kind, star=False, over=None)
