"""The functions of the language: how many arguments each takes, and the type of its value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from vispec.model import dims
from vispec.model.types import Dim, Domain, Type

Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class Function:
    """kind: "map" acts on each number; "vector" needs a vector and keeps it; "reduce" takes a vector or a whole sequence to one
    element; "dot" and "ordinal" take two values of shapes that fit, see products.py; "concat" any number of vectors and
    scalars; "one_hot" a finite scalar; "seen" a partial variable.

    domain: what numbers an argument must be. result: from the domain of the (first) argument to that of the value."""

    kind: str
    domain: Domain
    result: Callable[[Domain], Domain]
    most: int = 1  # arguments


def always(domain: Domain) -> Callable[[Domain], Domain]:
    return lambda _: domain


def positive_or_real(domain: Domain) -> Domain:
    return "positive" if domain in ("positive", "unit", "simplex") else "real"


def sum_of(domain: Domain) -> Domain:
    return "count" if domain in ("bit", "count") else positive_or_real(domain)


def mean_of(domain: Domain) -> Domain:
    return "unit" if domain in ("unit", "bit", "simplex") else positive_or_real(domain)


def same(domain: Domain) -> Domain:
    return {"simplex": "unit", "ordered": "real", "cholesky": "real"}.get(domain, domain)  # type: ignore[return-value]


FUNCTIONS: Mapping[str, Function] = {
    "exp": Function("map", "real", always("positive")),
    "log": Function("map", "positive", always("real")),
    "sqrt": Function("map", "positive", always("positive")),
    "abs": Function("map", "real", same),
    "sigmoid": Function("map", "real", always("unit")),
    "tanh": Function("map", "real", always("real")),
    "relu": Function("map", "real", same),
    "softplus": Function("map", "real", always("positive")),
    "softmax": Function("vector", "real", always("simplex")),
    "sum": Function("reduce", "real", sum_of),
    "mean": Function("reduce", "real", mean_of),
    "max": Function("reduce", "real", same),
    "min": Function("reduce", "real", same),
    "dot": Function("dot", "real", always("real"), most=2),
    "ordinal": Function("ordinal", "real", always("simplex"), most=2),
    "concat": Function("concat", "real", always("real"), most=99),
    "one_hot": Function("one_hot", "bit", always("bit")),
    "seen": Function("seen", "bit", always("bit")),
}

NUMERIC = frozenset({"real", "positive", "unit", "count", "bit", "simplex", "ordered", "cholesky"})
WHOLE = frozenset({"index", "tree"})  # an index is also a number: its place in the plate


def is_number(kind: Type) -> bool:
    """Whether arithmetic on it has a meaning; a category or token is only a label."""
    return kind.domain in NUMERIC or kind.domain in WHOLE


def plain(domain: Domain) -> Domain:
    """The domain of the single numbers in a value."""
    return {"simplex": "unit", "ordered": "real", "cholesky": "real", "index": "count", "tree": "count"}.get(domain, domain)  # type: ignore[return-value]


def arithmetic(op: str, left: Domain, right: Domain, one: bool) -> Domain:
    """The narrowest domain that `left op right` surely lies in; `one`: the left side is the number 1."""
    a, b = plain(left), plain(right)
    positive = {"positive", "unit"}
    whole = {"count", "bit"}
    match op:
        case "+" if a in whole and b in whole:
            return "count"
        case "+" if (a in positive and b in positive | whole) or (b in positive and a in whole):
            return "positive"
        case "*" if a in whole and b in whole:
            return "bit" if a == b == "bit" else "count"
        case "*" if a == b == "unit":
            return "unit"
        case "*" | "/" if a in positive and b in positive:
            return "positive"
        case "-" if one and b in ("unit", "bit"):
            return b
        case "^" if a == "unit" and b in positive:
            return "unit"
        case "^" if a in positive:
            return "positive"
        case "^" if a in whole and b in whole:
            return "count"
        case _:
            return "real"


def joined(shapes: tuple[Shape, ...]) -> Shape:
    """The shape of scalars and vectors put end to end."""
    total: Dim = 0
    for shape in shapes:
        total = dims.add(total, shape[0] if shape else 1)
    return (total,)


def element(kind: Type) -> Type:
    """One element of a sequence."""
    return replace(kind, star=False, over=None)
