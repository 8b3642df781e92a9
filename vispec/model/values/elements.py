"""Entries of vectors and matrices: an index past all plates of a name points into its event."""

from collections.abc import Sequence

from vispec.model import model as m
from vispec.model.names.scope import Scope, Symbol
from vispec.model.types import Dim, Type
from vispec.model.values.ranges import range_of
from vispec.syntax import tree as t

ELEMENT = {"simplex": "unit", "ordered": "real", "cholesky": "real"}


def index_event(
    scope: Scope,
    node: t.Index,
    base: m.Expression,
    items: Sequence[t.Expr],
    values: Sequence[m.Expression],
    symbol: Symbol | None = None,
) -> m.Expression | None:
    """Entries of vectors and matrices, one dimension for each index."""
    for item, value in zip(items, values, strict=True):
        kind = base.type
        if not kind.shape or kind.star:
            name = f"`{symbol.name}`" if symbol else "this"
            cause = (symbol.span, f"`{symbol.name}` has no further plate or dimension") if symbol else None
            message = f"{name} has no elements for this index to point at"
            scope.problems.add("V214", item.span, message, "nothing to index", cause=cause, help="leave the index out")
            return None
        if value.type.star:
            name = symbol.name if symbol else "..."
            message = f"an entry is looked up for one value at a time, and this is a sequence, `{value.type}`"
            help = f"name one entry by a let, `let e = {name}[...]`, and read the sequence of these, `e[*]` or `e[<i]`"
            scope.problems.add("V320", item.span, message, "a sequence", help=help)
            return None
        if not _picks(scope, item, value, kind, symbol):
            return None
        domain = ELEMENT.get(kind.domain, kind.domain)
        inner = Type(domain, kind.shape[1:], card=kind.card)  # type: ignore[arg-type]
        base = m.Element(node.span, inner, base, value)
    return base


def _picks(scope: Scope, item: t.Expr, value: m.Expression, kind: Type, symbol: Symbol | None) -> bool:
    """Whether a value can point along the first dimension of a vector."""
    size: Dim = kind.shape[0]
    known = scope.values.get(size, size) if isinstance(size, str) else size
    if isinstance(value, m.Const) and isinstance(value.value, int) and kind.low is None:
        if value.value < 0 or (isinstance(known, int) and value.value >= known):
            message = f"there is no entry {value.value} among {scope.shown(size)}: they count from 0"
            scope.problems.add("V204", item.span, message, "out of range")
            return False
        return True
    scalar = not value.type.shape and not value.type.star
    if kind.low is not None and scalar and range_of(scope, value).whole:
        return True
    if kind.low is None and scalar and scope.same(_reach(scope, value), size):
        return True
    if not scalar or not (range_of(scope, value).whole or value.type.domain in ("category", "token")):
        scope.problems.add("V320", item.span, f"an index is a whole number, and this is `{value.type}`", "not a whole number")
    elif kind.low is not None:
        scope.problems.add(
            "V320", item.span, f"an index into a range is a number, and this is `{value.type}`", "a label, not a number"
        )
    else:
        reach = _reach(scope, value)
        takes = f"it takes {scope.shown(reach)} values" if reach is not None else "it may fall outside"
        message = f"the index does not fit the {scope.shown(size)} entries: {takes}"
        help = one_each(scope, symbol, value) or _range_help(value)
        scope.problems.add("V320", item.span, message, "may be out of range", help=help)
    return False


def _range_help(value: m.Expression) -> str:
    if value.type.domain in ("category", "token", "index"):
        return "use the same size in both types"
    return "a parameter over a range takes any whole number and clamps it at the ends: `param jump : real[-50..50]`"


def one_each(scope: Scope, symbol: Symbol | None, at: m.Expression) -> str | None:
    """The plate that a parameter lacks, where a label picks one of its entries and not one parameter of several."""
    size = scope.card(at.type)
    if symbol is None or symbol.kind != "parameter" or at.type.domain not in ("category", "token", "index") or size is None:
        return None
    plates = [plate for plate in scope.plates.values() if plate.size is not None and scope.same(plate.size, size)]
    ragged = at.type.domain == "index" and not plates
    name = plates[0].name if plates else new_plate(scope)
    stands = "stands in no plate" if not symbol.plates else f"stands in no plate of {size}"
    return None if ragged else f"`{symbol.name}` {stands}; put it in `plate {name}[{size}]:` to have one for each value"


def new_plate(scope: Scope) -> str:
    """A name for a plate to be opened that nothing else has."""
    return next((name for name in ("k", "m", "values") if name not in scope.symbols), "...")


def _reach(scope: Scope, value: m.Expression) -> Dim | None:
    """How many values an index takes, counted from 0."""
    return scope.plates[value.plate].card if isinstance(value, m.Position) else scope.card(value.type)
