"""Warnings: what is declared and never read."""

from collections.abc import Sequence

from vispec.model.order import Edge
from vispec.model.scope import Scope, Symbol
from vispec.syntax import tree as t

DECLARED = (t.Size, t.Vocab, t.Param, t.Net, t.Let, t.GuideLet)


def warn(scope: Scope, edges: Sequence[Edge]) -> None:
    """Report unused declarations, unless there are errors, which may be why."""
    if scope.problems.errors:
        return
    read = {edge.source for edge in edges if edge.source != edge.reader}
    for symbol in scope.symbols.values():
        role = symbol.node.role if isinstance(symbol.node, t.Variable) else None
        unused = symbol.name not in (read if role else scope.used)
        if unused and (isinstance(symbol.node, DECLARED) or role == "given"):
            message = f"`{symbol.name}` is declared and never used"
            scope.problems.add("V190", symbol.span, message, f"{symbol.a}", help="leave it out", severity="warning")
        elif unused and role == "latent":
            _unread(scope, symbol)


def _unread(scope: Scope, symbol: Symbol) -> None:
    message = f"nothing reads the latent `{symbol.name}`, so it has no part in the likelihood"
    scope.problems.add(
        "V191", symbol.span, message, "never read", help="let a law read it, or leave it out", severity="warning"
    )
