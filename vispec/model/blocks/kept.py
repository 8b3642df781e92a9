"""Entries of `fit:` that name what the spec declares: what is `fixed` where it starts, and the `weight` of a row."""

from collections.abc import Set as AbstractSet

from vispec.model import model as m
from vispec.model.names.scope import Scope, Symbol
from vispec.model.problems import did_you_mean, listed
from vispec.syntax import tree as t

WEIGHTS = ("count", "real", "positive", "unit", "bit")  # numbers of at least 0; of reals, the data have to be


def named(entry: t.FitEntry) -> tuple[t.Node, ...]:
    """What an entry lists, one or several."""
    return entry.value.items if isinstance(entry.value, t.Names) else (entry.value,)


def fixed_names(entries: list[t.FitEntry]) -> frozenset[str]:
    """Every name that `fixed` lists, right or wrong."""
    return frozenset(
        item.id for entry in entries if entry.key.id == "fixed" for item in named(entry) if isinstance(item, t.Name)
    )


def read_fixed(scope: Scope, entry: t.FitEntry, points: AbstractSet[str]) -> m.FitEntry | None:
    """`fixed : mu, encode, E`. points: latents that are point estimates."""
    found: list[str] = []
    items = named(entry)
    for item in items:
        if not isinstance(item, t.Name):
            help = "list names: `fixed : mu, encode`"
            scope.problems.add(
                "V613", item.span, "`fixed` must be names of parameters, embeddings and nets", "this value", help=help
            )
        elif item.id in found:
            scope.problems.add("V614", item.span, f"`{item.id}` is fixed twice", "the second one", help="leave one of them out")
        elif _is_kept(scope, item, points):
            found.append(item.id)
    return m.FitEntry("fixed", tuple(found), (), entry.span) if len(found) == len(items) else None


def _is_kept(scope: Scope, item: t.Name, points: AbstractSet[str]) -> bool:
    symbol = scope.symbols.get(item.id)
    if item.id in scope.poisoned:
        return False
    if symbol is None:
        may_be = [s.name for s in scope.symbols.values() if s.kind in ("parameter", "embedding", "net")] + sorted(points)
        help = did_you_mean(item.id, may_be, f"{listed(may_be)} can be fixed" if may_be else None)
        scope.problems.add("V101", item.span, f"nothing is called `{item.id}`", "not declared", help=help)
        return False
    random = isinstance(symbol.node, t.Net) and (symbol.node.prior or any(stage.prior for stage in symbol.node.trunk))
    if (symbol.kind in ("parameter", "embedding", "net") and not random) or item.id in points:
        return True
    why = "its weights have a prior" if random else f"it is {symbol.a}"
    help = "fixed can be parameters, embeddings, nets, and latents with the estimator `map()`"
    cause = (symbol.span, "declared here")
    scope.problems.add("V613", item.span, f"`{item.id}` cannot be fixed: {why}", "no parameter", cause=cause, help=help)
    return False


def read_weight(scope: Scope, entry: t.FitEntry) -> m.FitEntry | None:
    """`weight : w`, a number that is given for each row."""
    (item,), help = named(entry)[:1], "declare it in the data plate, `given w : count`, and write `weight : w`"
    if not isinstance(entry.value, t.Name) or not isinstance(item, t.Name):
        scope.problems.add("V613", entry.value.span, "`weight` must be the name of one variable", "this value", help=help)
        return None
    symbol = scope.symbols.get(item.id)
    if symbol is None:
        if item.id not in scope.poisoned:
            given = [s.name for s in scope.symbols.values() if isinstance(s.node, t.Variable) and s.node.role == "given"]
            scope.problems.add(
                "V101", item.span, f"nothing is called `{item.id}`", "not declared", help=did_you_mean(item.id, given, help)
            )
        return None
    if item.id in scope.poisoned or (isinstance(symbol.node, t.Variable) and symbol.type is None):
        return None
    why = _no_weight(scope, symbol)
    if why is not None:
        cause = (symbol.span, "declared here")
        scope.problems.add("V613", item.span, f"`{item.id}` cannot be the weight of a row: {why}", why, cause=cause, help=help)
        return None
    return m.FitEntry("weight", item.id, (), entry.span)


def _no_weight(scope: Scope, symbol: Symbol) -> str | None:
    if not isinstance(symbol.node, t.Variable) or symbol.node.role != "given":
        return f"it is {symbol.a}"
    assert symbol.type is not None
    if symbol.type.domain not in WEIGHTS or symbol.type.shape:
        return f"it is {symbol.type} and not a number of at least 0"
    if [scope.plates[plate].data for plate in symbol.plates] != [True]:
        return "it does not stand in the data plate alone"
    return None
