"""Warnings: what is declared and never read."""

from collections.abc import Collection, Sequence

from vispec.model import model as m
from vispec.model.names.scope import Scope, Symbol
from vispec.model.order import Edge
from vispec.syntax import tree as t

DECLARED = (t.Size, t.Vocab, t.Embedding, t.Param, t.Net, t.Let, t.GuideLet)


def warn(
    scope: Scope,
    edges: Sequence[Edge],
    read: Collection[str],
    guide: Sequence[m.GuideLaw],
    infer: Sequence[m.Infer],
    fit: Sequence[m.FitEntry | m.Schedule],
) -> None:
    """Report unused declarations, unless there are errors, which may be why. read: what the model reads, without its guide."""
    if scope.problems.errors:
        return
    exact = {entry.name: entry for entry in infer if entry.estimator.name == "exact" and entry.otherwise is None}
    for law in guide:
        if law.name in exact:
            message = f"the guide for `{law.name}` is never used: it is summed out exactly"
            cause = (exact[law.name].span, "exact")
            help = "leave out the guide, or choose an estimator that samples"
            scope.problems.add("V617", law.span, message, "not needed", cause=cause, help=help, severity="warning")
        elif law.name not in read and isinstance(node := scope.symbols[law.name].node, t.Variable) and node.role == "partial":
            message = f"the guide for `{law.name}` is never used: nothing depends on it, so it is scored where it is seen"
            scope.problems.add("V617", law.span, message, "not needed", help="leave out the guide", severity="warning")
    used = {edge.source for edge in edges if edge.source != edge.reader}
    scored = _behind_laws(scope, edges)
    used |= {entry.value for entry in fit if isinstance(entry, m.FitEntry) and entry.key == "weight"}
    for symbol in scope.symbols.values():
        role = symbol.node.role if isinstance(symbol.node, t.Variable) else None
        unused = symbol.name not in (used if role else scope.used)
        bare = isinstance(symbol.node, t.Plate) and not any(symbol.name in s.plates for s in scope.symbols.values())
        if unused and isinstance(symbol.node, t.Let):
            message = f"no law reads `{symbol.name}`: it is a derived quantity, and takes no part in the likelihood"
            help = _without_body(scope, symbol)
            scope.problems.add("V190", symbol.span, message, "derived", help=help, severity="warning")
        elif unused and (bare or isinstance(symbol.node, DECLARED) or role == "given"):
            message = f"`{symbol.name}` is declared and never used"
            help = _without_body(scope, symbol) or "leave it out"
            scope.problems.add("V190", symbol.span, message, f"{symbol.a}", help=help, severity="warning")
        elif role == "latent" and symbol.name not in scored:
            _unread(scope, symbol)


def _behind_laws(scope: Scope, edges: Sequence[Edge]) -> set[str]:
    """What laws read, be it through lets; its own past does not make a variable read."""
    lets = {symbol.name for symbol in scope.symbols.values() if isinstance(symbol.node, t.Let)}
    found: set[str] = set()
    pending = [edge for edge in edges if edge.reader not in lets]
    while pending:
        edge = pending.pop()
        if edge.source not in found and edge.source != edge.reader:
            found.add(edge.source)
            pending += [other for other in edges if other.reader == edge.source and edge.source in lets]
    return found


def _without_body(scope: Scope, symbol: Symbol) -> str | None:
    """How a plate that something points at stands without the one thing in it."""
    plate = scope.plates[symbol.plates[-1]] if symbol.plates else None
    if plate is None or plate.size is None or plate.name not in scope.used:
        return None
    if any(plate.name in other.plates for other in scope.symbols.values() if other is not symbol):
        return None
    return f"leave it out: elements to point at are `plate {plate.name}[{plate.size}]` alone"


def _unread(scope: Scope, symbol: Symbol) -> None:
    message = f"no law reads the latent `{symbol.name}`, so it has no part in the likelihood"
    scope.problems.add(
        "V191", symbol.span, message, "never read", help="let a law read it, or leave it out", severity="warning"
    )
