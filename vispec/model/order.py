"""What is computed before what, and that there is such an order: nothing depends on itself, or on its own future.

Dependencies are edges. One that steps back along a chain (c[t-1], x[<t]) is no obstacle, as long as no other dependency in the
same circle takes a sequence along that chain as a whole (x[*], x[a]).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vispec.model import model as m
from vispec.model.scope import Scope
from vispec.model.walk import walk
from vispec.source import Span


@dataclass(frozen=True)
class Edge:
    """`reader` reads `source` at `span`. past: the chain stepped back along. whole: plates of which other elements are read."""

    reader: str
    source: str
    span: Span
    past: str | None = None
    whole: frozenset[str] = frozenset()


def edges_of(reader: str, expressions: Iterable[m.Expression]) -> Iterator[Edge]:
    """What the expressions of one variable or let read."""
    for root in expressions:
        for node in walk(root):
            match node:
                case m.Ref(name=name):
                    yield Edge(reader, name, node.span)
                case m.All(name=name, plate=plate):
                    yield Edge(reader, name, node.span, whole=frozenset({plate}))
                case m.Select(name=name, by=((plate, index),)) if index.type.domain == "tree":
                    yield Edge(reader, name, node.span, past=plate)  # heads come before their dependents
                case m.Select(name=name, by=by):
                    yield Edge(reader, name, node.span, whole=frozenset(plate for plate, _ in by))
                case m.Past(name=name, plate=plate) | m.Prefix(name=name, plate=plate):
                    yield Edge(reader, name, node.span, past=plate)


def sort(scope: Scope, nodes: Iterable[str], edges: Iterable[Edge], code: str = "V212") -> tuple[str, ...]:
    """The nodes, each after all that it reads, otherwise in the order given; circles are reported (as `code`), and broken."""
    names = list(nodes)
    known = [edge for edge in edges if edge.reader in names and edge.source in names]
    left = list(_without_past(known))
    for circle in _circles(names, left):
        _report(scope, circle, [e for e in left if e.reader in circle and e.source in circle], code)
        left = [e for e in left if not (e.reader in circle and e.source in circle)]
    return _order(names, left)


def _without_past(edges: list[Edge]) -> Iterator[Edge]:
    """All edges but the steps back that are harmless, circle by circle."""
    names = dict.fromkeys(name for edge in edges for name in (edge.reader, edge.source))
    circles = _circles(list(names), edges)
    for edge in edges:
        if not any(edge.reader in circle and edge.source in circle for circle in circles):
            yield edge
    for circle in circles:
        inside = [edge for edge in edges if edge.reader in circle and edge.source in circle]
        taken = frozenset[str]().union(*(edge.whole for edge in inside))
        chains = {edge.past for edge in inside if edge.past is not None} - taken
        yield from _without_past([e for e in inside if e.past not in chains]) if chains else inside


def _circles(names: list[str], edges: Iterable[Edge]) -> list[frozenset[str]]:
    """Sets of names that all depend on each other, self-dependence included."""
    reach: dict[str, set[str]] = {name: set() for name in names}
    sources: dict[str, set[str]] = {name: set() for name in names}
    for edge in edges:
        sources[edge.reader].add(edge.source)
    for name in names:
        todo = list(sources[name])
        while todo:
            other = todo.pop()
            if other not in reach[name]:
                reach[name].add(other)
                todo.extend(sources[other])
    found = dict.fromkeys(frozenset(o for o in reach[name] if name in reach[o]) for name in names if name in reach[name])
    return list(found)


def _order(names: list[str], edges: list[Edge]) -> tuple[str, ...]:
    waiting: Mapping[str, set[str]] = {name: {e.source for e in edges if e.reader == name} for name in names}
    done: list[str] = []
    while len(done) < len(names):
        done.append(next(name for name in names if name not in done and waiting[name] <= set(done)))
    return tuple(done)


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
    path = _path(circle, edges)
    first = path[0]
    if first.reader == first.source:
        message = f"`{first.reader}` depends on itself"
        help = "in a chain an element may read the one before it: `c[t-1]`"
        scope.problems.add(code, first.span, message, "itself", help=help)
        return
    words = " reads ".join(f"`{edge.reader}`" for edge in path) + f" reads `{first.reader}`"
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
