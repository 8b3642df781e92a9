"""Whether a value may stand where a type is expected: domains by what they contain, shapes by their sizes."""

from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.types import Dim, Domain, Type
from vispec.model.values.functions import NUMERIC, WHOLE, is_number
from vispec.model.values.intervals import fits, hull
from vispec.model.values.ranges import narrowest, range_of, sums_to_1

NUMBERS = frozenset({"real", "positive", "unit", "count", "bit"})
CONTAINS: dict[str, frozenset[str]] = {
    **{domain: frozenset({domain}) for domain in ("bit", "simplex", "ordered", "cholesky", "tree", "parse", "segments")},
    **{domain: frozenset() for domain in ("real", "positive", "unit", "count")},
    "category": frozenset({"category", "token", "index", "tree"}),
    "token": frozenset({"token", "category"}),
    "index": frozenset({"index", "tree", "category"}),
}
"""Domain → the domains of labels and vectors whose every value lies in it; of finite ones, where they have as many values.
Numbers are in what their range lies in."""


def const(value: int | float, span: m.Span) -> m.Const:
    """A number, in the narrowest domain of plain numbers."""
    if isinstance(value, int) and value in (0, 1):
        domain: Domain = "bit"
    elif value > 0:
        domain = "unit" if value < 1 else "positive"
    else:
        domain = "real"
    return m.Const(span, Type(domain, card=2 if domain == "bit" else None), value)


def number_fits(value: int | float, domain: str, card: Dim | None) -> bool:
    """Whether a literal number lies in a domain."""
    whole = isinstance(value, int)
    match domain:
        case "real":
            return True
        case "positive":
            return value > 0
        case "unit":
            return 0 <= value <= 1
        case "count":
            return whole and value >= 0
        case "bit":
            return value in (0, 1)
        case "category":
            return whole and value >= 0 and not (isinstance(card, int) and value >= card)
        case _:
            return False


def domain_fits(scope: Scope, value: m.Expression, domain: str, card: Dim | None = None) -> bool:
    """Whether every value of the expression lies in the domain (with `card` values, where that is finite)."""
    if isinstance(value, m.Const):
        known = card if not isinstance(card, str) else scope.values.get(card, card)
        return number_fits(value.value, domain, known)
    if domain == "simplex" and sums_to_1(scope, value):
        return True
    if isinstance(value, m.Conditional) and domain == "simplex":
        return all(domain_fits(scope, branch, domain) for branch in (value.then, value.otherwise))
    if domain in NUMBERS and is_number(value.type) and not (domain == "bit" and value.type.domain in WHOLE):
        return fits(range_of(scope, value), domain)
    if value.type.domain not in CONTAINS[domain]:
        return False
    if domain in ("category", "token", "index") and card is not None:
        return scope.same(scope.card(value.type), card)
    return True


def shape_of(scope: Scope, value: m.Expression) -> tuple[Dim, ...]:
    """The event shape; of a whole sequence over a plate of known size, with that size in front."""
    if value.type.star and value.type.over is not None:
        plate = scope.plates[value.type.over]
        if plate.size is not None:
            return (plate.size, *value.type.shape)
    return value.type.shape


def is_ragged_sequence(scope: Scope, value: m.Expression) -> bool:
    """A sequence of which only the data knows how long it is, so that it is not a vector."""
    return value.type.star and (value.type.over is None or scope.plates[value.type.over].size is None)


def fits_argument(scope: Scope, value: m.Expression, expected: Type) -> str | None:
    """Why a value cannot be an argument of this type ("sequence", "element", "domain", "card", "shape"), or None."""
    if expected.star and not value.type.star:
        return "element"
    if not expected.star and is_ragged_sequence(scope, value):
        return "sequence"
    if not domain_fits(scope, value, expected.domain):
        return "domain"
    if not domain_fits(scope, value, expected.domain, scope.card(expected)):
        return "card"
    shape = value.type.shape if expected.star else shape_of(scope, value)
    return None if scope.same_shape(shape, expected.shape) else "shape"


def join(scope: Scope, left: m.Expression, right: m.Expression) -> Type | None:
    """The narrowest type of `left if ... else right`, or None where they have nothing in common."""
    a, b = left.type, right.type
    if a.star != b.star or a.over != b.over:
        return None
    shape = a.shape or b.shape
    if a.shape and b.shape and not scope.same_shape(a.shape, b.shape):
        return None
    for kind, other in ((a, right), (b, left)):
        if domain_fits(scope, other, kind.domain, scope.card(kind)):
            return Type(kind.domain, shape, card=kind.card, plate=kind.plate, star=kind.star, over=kind.over)
    if {a.domain, b.domain} <= NUMERIC | {"index", "tree"}:
        return Type(narrowest(hull(range_of(scope, left), range_of(scope, right))), shape)
    return None
