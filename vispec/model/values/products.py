"""Functions of two arguments that contract or combine their shapes: inner products, and intervals between cuts."""

from vispec.model import dims
from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.types import Dim, Domain, Type
from vispec.model.values.conform import domain_fits, shape_of
from vispec.syntax import tree as t


def product(scope: Scope, node: t.Call, left: m.Expression, right: m.Expression) -> Type | None:
    """`dot` of two vectors, a vector and a matrix, or a matrix and a vector; the vectors of a plate are a matrix's rows."""
    a, b = shape_of(scope, left), shape_of(scope, right)
    if not a or not b or len(a) + len(b) > 3:
        odd = left if not a or len(a) > 2 else right
        message = f"`dot` takes two vectors, or a vector and a matrix, and this is `{odd.type}`"
        help = "`K` vectors of one plate are a matrix: `dot(z, w[*])` is the sum of `z[k] * w` over them"
        label = "too many dimensions" if shape_of(scope, odd) else "a single number"
        scope.problems.add("V308", odd.span, message, label, help=help)
        return None
    if not scope.same(a[-1], b[0]):
        message = f"`dot` adds up products of {_entries(scope, a, -1)} with {_entries(scope, b, 0)}"
        cause = (left.span, f"`{left.type}`")
        scope.problems.add("V308", right.span, message, f"`{right.type}`", cause=cause, help="use the same size in both")
        return None
    return Type(_domain(left, right, len(b)), (*a[:-1], *b[1:]))


def _entries(scope: Scope, shape: tuple[Dim, ...], place: int) -> str:
    what = "entries" if len(shape) == 1 else "rows" if place == 0 else "columns"
    return f"{scope.shown(shape[place])} {what}"


def _domain(left: m.Expression, right: m.Expression, rank: int) -> Domain:
    """A mixture of simplexes is one; of what else, its range tells."""
    return "simplex" if left.type.domain == "simplex" and right.type.domain == "simplex" and rank == 2 else "real"


def intervals(scope: Scope, node: t.Call, place: m.Expression, cuts: m.Expression) -> Type | None:
    """`ordinal`: the probabilities of the intervals that increasing cuts make, one more than there are cuts."""
    shape = shape_of(scope, cuts)
    if place.type.shape or place.type.star:
        message = f"`ordinal` takes one number first, and this is `{place.type}`"
        scope.problems.add("V308", place.span, message, "has several entries", help="write `ordinal(x, cuts)`")
        return None
    if len(shape) != 1 or not domain_fits(scope, cuts, "ordered"):
        message = f"`ordinal` takes increasing numbers second, and this is `{cuts.type}`"
        help = "declare it as `ordered[K - 1]`, for K values"
        scope.problems.add("V309", cuts.span, message, "may not increase", help=help)
        return None
    return Type("simplex", (dims.add(shape[0], 1),))
