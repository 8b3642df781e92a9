"""The data plate: the outermost one without a size, or where the text has none, one row that holds all of the data.

A spec whose plates all have sizes, or whose outermost ones without a size are chains, describes one data set. It gets a data
plate of one row, so that no later stage knows of a second kind of model. Continuous latents that are not in a chain stay
outside of it, where guides have parameters for each element; a row's latents get nets, which one row cannot teach.
"""

import re
from collections.abc import Mapping

from vispec.estimators import estimators
from vispec.model.graphs import reading
from vispec.model.names.scope import PlateInfo, Scope, Symbol
from vispec.model.types import DISCRETE_DOMAINS
from vispec.source import Span
from vispec.syntax import tree as t


def choose_data_plate(scope: Scope, body: tuple[t.Statement, ...]) -> None:
    """Say of each plate without a size whether its elements are the rows, or differ in number from row to row."""
    unsized = [plate for plate in scope.plates.values() if plate.size is None]
    outermost = [plate for plate in unsized if all(scope.plates[outer].size is not None for outer in plate.inside)]
    rows = next((plate for plate in outermost if plate.kind == "plate"), None)
    for plate in unsized:
        plate.ragged = rows is None or plate not in outermost
        if rows is not None and plate in outermost and plate is not rows:
            _second(scope, plate, rows)
    if rows is None:
        rows = _add_row(scope, body)
        _put_into(scope, rows, body)
    rows.data = True
    for plate in scope.plates.values():
        plate.inside = _data_first(scope, plate.inside)
    for symbol in scope.symbols.values():
        symbol.plates = _data_first(scope, symbol.plates)


def _second(scope: Scope, plate: PlateInfo, rows: PlateInfo) -> None:
    message = f"`{plate.name}` and `{rows.name}` are both outermost plates without a size; the rows of the data are one plate"
    help = f"write one inside the other, or give one a size: `{plate.kind} {plate.name}[K]:`"
    later, first = (plate, rows) if plate.span.start > rows.span.start else (rows, plate)
    scope.problems.add("V113", later.span, message, "a second data plate", cause=(first.span, "the first one"), help=help)
    plate.size, plate.wrong = 1, True


def _data_first(scope: Scope, plates: tuple[str, ...]) -> tuple[str, ...]:
    """The plates in the order of a tensor's axes: rows first, then as they are nested."""
    return tuple(sorted(plates, key=lambda plate: not scope.plates[plate].data))


# ---- one row


def _add_row(scope: Scope, body: tuple[t.Statement, ...]) -> PlateInfo:
    """The plate of the one row, under a name that the text does not use."""
    used = set(re.findall(r"\w+", scope.source.text))
    name = next(name for name in ("row", *(f"row{i}" for i in range(2, len(used) + 3))) if name not in used)
    span = body[0].span if body else Span(0, 0, 1, 1, 1, 1)
    row = PlateInfo(name, "plate", None, (), span, implicit=True)
    scope.plates = {name: row, **scope.plates}
    return row


def _put_into(scope: Scope, row: PlateInfo, body: tuple[t.Statement, ...]) -> None:
    """Open the row around all that differs with the data."""
    for plate in scope.plates.values():
        if plate.ragged or any(scope.plates[outer].ragged for outer in plate.inside):
            plate.inside = (row.name, *plate.inside)
    own = {s.name: s for s in scope.symbols.values() if isinstance(s.node, t.Variable | t.Let)}
    outside = _outside(scope, own, body)
    for name, symbol in own.items():
        if name not in outside:
            symbol.plates = (row.name, *symbol.plates)


def _outside(scope: Scope, own: Mapping[str, Symbol], body: tuple[t.Statement, ...]) -> set[str]:
    """The names that stand outside the row: latents with guides of their own parameters that read no data, and values that
    follow from parameters and such latents."""
    drawn = _asked(body)
    graph = reading({name: symbol.node for name, symbol in own.items()})  # type: ignore[misc]

    def may(symbol: Symbol) -> bool:
        """Whether nothing but what it reads could keep it in the row."""
        if any(scope.plates[p].size is None or scope.plates[p].kind == "chain" for p in symbol.plates):
            return False
        node = symbol.node
        if isinstance(node, t.Variable) and node.role == "latent":
            return node.type.domain not in DISCRETE_DOMAINS and symbol.name not in drawn
        return isinstance(node, t.Let)

    names = {name for name, symbol in own.items() if may(symbol)}
    while bad := {name for name in names if any(other != name and other not in names for other in graph[name])}:
        names -= bad
    return names


def _asked(body: tuple[t.Statement, ...]) -> set[str]:
    """Latents whose guide is written, or whose estimator is one of a row."""
    guides = {e.name.id for node in body if isinstance(node, t.Guide) for e in node.entries if isinstance(e, t.GuideLaw)}
    entries = [entry for node in body if isinstance(node, t.Infer) for entry in node.entries]
    return guides | {entry.name.id for entry in entries if not _may_share(_estimator(entry.estimator))}


def _may_share(name: str) -> bool:
    """Whether an estimator can be asked for a latent which all rows share."""
    kind = estimators().get(name)
    return kind is not None and (kind.point or (kind.of_guide and kind.bound({}) == "elbo"))


def _estimator(node: t.Expr) -> str:
    call = node.function if isinstance(node, t.Call) else node
    return call.id if isinstance(call, t.Name) else ""
