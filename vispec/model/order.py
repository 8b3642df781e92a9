"""What is computed before what, and that there is such an order: nothing depends on itself, or on its own future.

Dependencies are edges. One that steps back along a chain (c[t-1], x[<t]) is no obstacle, as long as no other dependency in the
same circle takes a sequence along that chain as a whole (x[*], x[a]).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vispec.model import model as m
from vispec.model.graphs import circles, ordered
from vispec.model.names.scope import Scope
from vispec.model.walk import looked_up, walk
from vispec.source import Span

MOST_SHOWN = 6  # names of a circle in a message


@dataclass(frozen=True)
class Edge:
    """`reader` reads `source` at `span`. past: the chain stepped back along, or the plate of the tree whose heads come first.
    whole: plates of which other elements are read."""

    reader: str
    source: str
    span: Span
    past: str | None = None
    tree: str | None = None
    whole: frozenset[str] = frozenset()


def edges_of(reader: str, expressions: Iterable[m.Expression], grown: str | None = None) -> Iterator[Edge]:
    """What the expressions of one variable or let read. grown: of a tree whose elements decide what hangs from them, its plate:
    such an element, and what is looked up for it, is there before those that hang from it."""
    for root in expressions:
        own = looked_up(root)
        for node in walk(root):
            match node:
                case m.Ref(name=name):
                    yield Edge(reader, name, node.span)
                case m.All(name=name, plate=plate) if node is own and plate == grown:
                    yield Edge(reader, name, node.span, past=plate, tree=reader)
                case m.All(name=name, plate=plate):
                    yield Edge(reader, name, node.span, whole=frozenset({plate}))
                case m.Select(name=name, by=((plate, index),)) if index.type.domain == "tree":
                    trees = {inner.name for inner in walk(index) if isinstance(inner, m.Ref)}
                    yield Edge(reader, name, node.span, past=plate, tree=min(trees, default=""))  # heads before dependents
                case m.Select(name=name, by=by):
                    yield Edge(reader, name, node.span, whole=frozenset(plate for plate, _ in by))
                case m.Past(name=name, plate=plate) | m.Prefix(name=name, plate=plate):
                    yield Edge(reader, name, node.span, past=plate)


def sort(scope: Scope, nodes: Iterable[str], edges: Iterable[Edge], code: str = "V212") -> tuple[str, ...]:
    """The nodes, each after all that it reads, otherwise in the order given; circles are reported (as `code`), and broken."""
    names = list(nodes)
    known = set(names)
    left = list(_without_past([edge for edge in edges if edge.reader in known and edge.source in known]))
    graph = _graph(names, left)
    for circle in circles(graph):
        inside = [edge for edge in left if edge.reader in circle and edge.source in circle]
        _report(scope, circle, inside, code)
        for edge in inside:
            graph[edge.reader] = [name for name in graph[edge.reader] if name not in circle]
    return ordered(graph)


def _graph(names: Iterable[str], edges: Iterable[Edge]) -> dict[str, list[str]]:
    """Each name with those that it reads."""
    graph: dict[str, list[str]] = {name: [] for name in names}
    for edge in edges:
        graph[edge.reader].append(edge.source)
    return graph


def _without_past(edges: list[Edge]) -> Iterator[Edge]:
    """All edges but the steps back that are harmless, circle by circle."""
    home: dict[str, int] = {}
    found = circles(_graph(dict.fromkeys(name for edge in edges for name in (edge.reader, edge.source)), edges))
    for number, circle in enumerate(found):
        home |= dict.fromkeys(circle, number)
    inside: dict[int, list[Edge]] = {}
    for edge in edges:
        if edge.reader in home and home[edge.reader] == home.get(edge.source):
            inside.setdefault(home[edge.reader], []).append(edge)
        else:
            yield edge
    for group in inside.values():
        whole = frozenset[str]().union(*(edge.whole for edge in group))
        chains = {edge.past for edge in group if edge.past is not None} - whole - _orders_mixed(group)
        yield from _without_past([edge for edge in group if edge.past not in chains]) if chains else group


def _orders_mixed(edges: Iterable[Edge]) -> set[str]:
    """Plates along which a circle goes back in more than one order: that of a chain, and those of trees."""
    orders: dict[str, set[str | None]] = {}
    for edge in edges:
        if edge.past is not None:
            orders.setdefault(edge.past, set()).add(edge.tree)
    return {plate for plate, found in orders.items() if len(found) > 1}


def _report(scope: Scope, circle: frozenset[str], edges: list[Edge], code: str) -> None:
    """One diagnostic for a circle: where it reads the future of a chain, that; else the circle itself."""
    ahead = next((edge for edge in edges if edge.whole and edge.whole & set(scope.symbols[edge.reader].plates)), None)
    if ahead is not None:
        plate = scope.plates[min(ahead.whole & set(scope.symbols[ahead.reader].plates))]
        what = "itself" if ahead.reader == ahead.source else f"`{ahead.source}`, which depends on `{ahead.reader}`,"
        message = f"`{ahead.reader}` reads {what} all along `{plate.name}`, the future included"
        read = f"`{ahead.source}[<{plate.name}]`"
        help = (
            f"read the elements before it: {read}" if plate.kind == "chain" else f"write `chain {plate.name}:` and read {read}"
        )
        scope.problems.add("V205", ahead.span, message, "reads the future", cause=(plate.span, "opened here"), help=help)
        return
    for edge in edges:
        kind = scope.symbols[edge.reader].type
        if kind is not None and kind.domain == "tree" and kind.plate in edge.whole:
            message = f"`{edge.reader}` reads all of `{edge.source}` at once, which depends on `{edge.reader}`"
            help = f"what an element decides may read that element: a `let` inside `{kind.plate}`, read as `s[*]`, or a table"
            cause = (scope.symbols[edge.source].span, "declared here")
            scope.problems.add(code, edge.span, message, "more than each element", cause=cause, help=help)
            return
    for plate in sorted(_orders_mixed(edges)):
        one, other = next((a, b) for a in edges for b in edges if a.past == b.past == plate and a.tree != b.tree)
        message = f"`{one.reader}` reads elements of `{plate}` in two orders, so that none of them comes first"
        help = "read other elements in one way: by their order, or through the heads of one tree"
        scope.problems.add(code, one.span, message, "in one order", cause=(other.span, "in another"), help=help)
        return
    path = _path(circle, edges)
    first = path[0]
    if first.reader == first.source:
        message = f"`{first.reader}` depends on itself"
        help = "in a chain an element may read the one before it: `c[t-1]`"
        scope.problems.add(code, first.span, message, "itself", help=help)
        return
    names = [f"`{edge.reader}`" for edge in path]
    shown = names if len(names) <= MOST_SHOWN else [*names[: MOST_SHOWN - 2], "...", names[-1]]
    words = " reads ".join([*shown, f"`{first.reader}`"])
    cause = (path[1].span, f"`{path[1].reader}` reads `{path[1].source}` here")
    message = f"these depend on each other in a circle: {words}"
    help = "turn one of the dependencies round, or read the past in a chain"
    scope.problems.add(code, first.span, message, f"`{first.reader}` reads `{first.source}`", cause=cause, help=help)


def _path(circle: frozenset[str], edges: list[Edge]) -> list[Edge]:
    """The edges of one circle, starting at the first of them in the text."""
    own = next((edge for edge in edges if edge.reader == edge.source), None)
    if own is not None:
        return [own]
    path = [min(edges, key=lambda e: e.span.start)]
    while path[-1].source not in [edge.reader for edge in path]:
        path.append(next(edge for edge in edges if edge.reader == path[-1].source))
    start = next(n for n, edge in enumerate(path) if edge.reader == path[-1].source)
    return path[start:]
