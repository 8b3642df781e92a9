"""Graphs of names: what depends on itself, and an order in which each comes after those that it reads. Nothing recurses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from heapq import heapify, heappop, heappush

from vispec.syntax import tree as t


def reading(nodes: Mapping[str, t.Node]) -> dict[str, list[str]]:
    """Each name with those others of them that its text mentions."""
    return {name: [other for other in dict.fromkeys(mentioned(node)) if other in nodes] for name, node in nodes.items()}


def mentioned(node: t.Node) -> Iterator[str]:
    """Every name in a piece of syntax."""
    todo: list[object] = [node]
    while todo:
        item = todo.pop()
        if isinstance(item, t.Name):
            yield item.id
        elif isinstance(item, tuple):
            todo += item
        elif isinstance(item, t.Node):
            todo += [getattr(item, field.name) for field in fields(item)]


def circles(graph: Mapping[str, Sequence[str]]) -> list[frozenset[str]]:
    """The largest sets of names that all depend on each other, self-dependence included (Kosaraju's two passes)."""
    back: dict[str, list[str]] = {name: [] for name in graph}
    for name, sources in graph.items():
        for source in sources:
            back[source].append(name)
    finished: list[str] = []
    seen: set[str] = set()
    for name in graph:
        finished += _reached(name, graph, seen)
    found: list[frozenset[str]] = []
    seen = set()
    for name in reversed(finished):
        group = frozenset(_reached(name, back, seen))
        if len(group) > 1 or (name in graph[name] and group):
            found.append(group)
    return found


def _reached(start: str, graph: Mapping[str, Sequence[str]], seen: set[str]) -> list[str]:
    """What is reached from `start` and not in `seen` yet, each after all that is reached from it."""
    if start in seen:
        return []
    seen.add(start)
    done: list[str] = []
    path = [(start, iter(graph[start]))]
    while path:
        name, rest = path[-1]
        following = next((other for other in rest if other not in seen), None)
        if following is None:
            done.append(name)
            path.pop()
        else:
            seen.add(following)
            path.append((following, iter(graph[following])))
    return done


def ordered(graph: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The names of a graph without circles, each after those that it reads; of several that could follow, the first."""
    place = {name: number for number, name in enumerate(graph)}
    waiting = {name: len(set(sources)) for name, sources in graph.items()}
    readers: dict[str, list[str]] = {name: [] for name in graph}
    for name, sources in graph.items():
        for source in set(sources):
            readers[source].append(name)
    ready = [(place[name], name) for name, count in waiting.items() if count == 0]
    heapify(ready)
    done: list[str] = []
    while ready:
        _, name = heappop(ready)
        done.append(name)
        for reader in readers[name]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heappush(ready, (place[reader], reader))
    return tuple(done)
