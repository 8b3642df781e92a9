"""Warnings: what is declared and never read."""

from collections.abc import Collection, Sequence

from vispec.model import model as m
from vispec.model.names.scope import Scope, Symbol
from vispec.model.order import Edge
from vispec.syntax import tree as t

DECLARED = (t.Size, t.Vocab, t.Param, t.Net, t.Let, t.GuideLet)


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
    used |= {entry.value for entry in fit if isinstance(entry, m.FitEntry) and entry.key == "weight"}
    for symbol in scope.symbols.values():
        role = symbol.node.role if isinstance(symbol.node, t.Variable) else None
        unused = symbol.name not in (used if role else scope.used)
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
