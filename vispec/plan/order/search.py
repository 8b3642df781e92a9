"""In which order latents are summed out of factors that they connect: exactly where they are few, else by several greedy rules.

Summing out v touches the axes of all factors that read v, v itself included; the others are left as one factor. That is the
elimination game on a graph in which axes of one factor are neighbours. What it costs is the product of the sizes touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from vispec.program.axis import Axis

EXACT = 10  # latents that are ordered exactly: 2^10 sets of them

NEAR = 4  # an order that has at most so many times the terms of the largest sum that there must be is not bettered

Sizes = Callable[[Axis], int]
Graph = dict[Axis, set[Axis]]


@dataclass(frozen=True)
class Found:
    """An order, its terms, and the next cheapest that was found: its terms and what it begins with or how it was found."""

    order: tuple[Axis, ...]
    terms: int
    runner_up: tuple[int, str] | None = None


def cheapest(latents: Sequence[Axis], scopes: Iterable[Iterable[Axis]], size: Sizes) -> Found:
    """The order in which to sum out latents, which are connected by factors with these axes."""
    graph = neighbours(scopes)
    sizes = {axis: size(axis) for axis in graph}
    for latent in latents:
        graph.setdefault(latent, set())
        sizes.setdefault(latent, size(latent))
    if len(latents) <= EXACT:
        return exact(latents, graph, sizes)
    found = greedy(latents, graph, sizes)
    first, core, given = simplicial(latents, graph, sizes)
    rest = [latent for latent in latents if latent in core]
    if len(rest) > EXACT:
        return found
    inner = exact(rest, core, sizes)
    terms = given + inner.terms
    if terms >= found.terms:
        return found
    return Found((*first, *inner.order), terms, (found.terms, "a greedy order"))


def neighbours(scopes: Iterable[Iterable[Axis]]) -> Graph:
    """Which axes stand in one factor."""
    graph: Graph = {}
    for scope in scopes:
        axes = set(scope)
        for axis in axes:
            graph.setdefault(axis, set()).update(axes - {axis})
    return graph


def remove(axis: Axis, graph: Graph) -> set[Axis]:
    """Sum out an axis: its neighbours become neighbours of each other. Returns them."""
    around = graph.pop(axis)
    for other in around:
        graph[other] |= around
        graph[other] -= {other, axis}
    return around


def price(axis: Axis, graph: Graph, sizes: Mapping[Axis, int]) -> int:
    """What it takes to sum out an axis."""
    return sizes[axis] * prod(sizes[other] for other in graph[axis])


def simplicial(latents: Sequence[Axis], graph: Graph, sizes: Mapping[Axis, int]) -> tuple[list[Axis], Graph, int]:
    """Latents whose neighbours are neighbours of each other, again and again, as leaves of a tree are: summing them out adds no
    pairs. Also what is left, and their terms."""
    first, terms, again = list[Axis](), 0, True
    graph = {axis: set(around) for axis, around in graph.items()}
    while again:
        ready = [latent for latent in latents if latent in graph and not new_pairs(latent, graph, sizes)]
        again = bool(ready)
        for latent in ready:
            if not new_pairs(latent, graph, sizes):
                terms += price(latent, graph, sizes)
                remove(latent, graph)
                first.append(latent)
    return first, graph, terms


def exact(latents: Sequence[Axis], graph: Graph, sizes: Mapping[Axis, int]) -> Found:
    """The best of all orders, over sets of latents that are already summed out."""
    axes = [*latents, *(axis for axis in graph if axis not in {*latents})]
    bit = {axis: 1 << n for n, axis in enumerate(axes)}
    near = [sum(bit[other] for other in graph[axis]) for axis in latents]
    n, weight = len(latents), [sizes[axis] for axis in axes]
    products: dict[int, int] = {}

    def size_of(mask: int) -> int:
        if mask not in products:
            found, left = 1, mask
            while left:
                low = left & -left
                found *= weight[low.bit_length() - 1]
                left ^= low
            products[mask] = found
        return products[mask]

    def touched(v: int, gone: int) -> int:
        """The axes reached from v through what is gone, v included."""
        seen, todo, reach = 1 << v, [v], near[v]
        while todo:
            todo.pop()
            new = reach & gone & ~seen
            seen |= new
            while new:
                low = new & -new
                other = low.bit_length() - 1
                reach |= near[other]
                todo.append(other)
                new ^= low
        return (reach & ~gone) | (1 << v)

    whole = (1 << n) - 1
    best: dict[int, tuple[int, int]] = {whole: (0, -1)}
    for gone in range(whole - 1, -1, -1):
        ways = ((size_of(touched(v, gone)) + best[gone | 1 << v][0], v) for v in range(n) if not gone >> v & 1)
        best[gone] = min(ways)
    order, gone = list[Axis](), 0
    while gone != whole:
        v = best[gone][1]
        order.append(latents[v])
        gone |= 1 << v
    starts = sorted((size_of(touched(v, 0)) + best[1 << v][0], v) for v in range(n))
    other = next(((terms, f"{latents[v]} first") for terms, v in starts if terms > best[0][0]), None)
    return Found(tuple(order), best[0][0], other)


def greedy(latents: Sequence[Axis], graph: Graph, sizes: Mapping[Axis, int]) -> Found:
    """The best of the orders that simple rules give: the least work next, the fewest new pairs, the smallest result. A rule is
    given up once it has cost as much as the best before it, and no more are tried once there is little to be gained."""
    best = other = None
    least = largest_sum(latents, graph, sizes)
    for name, rule in RULES.items():
        if best is not None and best[0] <= NEAR * least:
            break
        for backwards in (False, True):
            found = by_rule(latents[::-1] if backwards else latents, graph, sizes, rule, None if best is None else best[0])
            if found is not None:
                best, other = (found[1], name, found[0]), best
    assert best is not None
    return Found(best[2], best[0], None if other is None else other[:2])


def largest_sum(latents: Sequence[Axis], graph: Graph, sizes: Mapping[Axis, int]) -> int:
    """At least so many terms has the largest sum of any order: in each part of the graph, the one that comes first there has at
    least those of its neighbours in the part."""
    graph = {axis: set(around) for axis, around in graph.items()}
    left, most = {latent: price(latent, graph, sizes) for latent in latents}, 0
    while left:
        latent = min(left, key=lambda each: left[each])
        most = max(most, left.pop(latent))
        for other in graph.pop(latent):
            graph[other].discard(latent)
            if other in left:
                left[other] //= max(sizes[latent], 1)
    return most


Rule = Callable[[Axis, Graph, Mapping[Axis, int]], float]


def by_rule(
    latents: Sequence[Axis], graph: Graph, sizes: Mapping[Axis, int], rule: Rule, limit: int | None
) -> tuple[tuple[Axis, ...], int] | None:
    """At each step the latent for which the rule gives least; None where it takes as many terms as the limit."""
    graph = {axis: set(around) for axis, around in graph.items()}
    left = {latent: rule(latent, graph, sizes) for latent in latents}
    order, terms = list[Axis](), 0
    while left:
        latent = min(left, key=lambda each: left[each])
        del left[latent]
        terms += price(latent, graph, sizes)
        if limit is not None and terms >= limit:
            return None
        around = remove(latent, graph)
        changed = around.union(*(graph[other] for other in around)) if around else set()
        for other in changed & left.keys():
            left[other] = rule(other, graph, sizes)
        order.append(latent)
    return tuple(order), terms


def new_pairs(axis: Axis, graph: Graph, sizes: Mapping[Axis, int]) -> float:
    """How many neighbours are not yet neighbours of each other, each pair twice."""
    around = graph[axis]
    return sum(len(around) - 1 - len(graph[other] & around) for other in around)


def weight_of_new_pairs(axis: Axis, graph: Graph, sizes: Mapping[Axis, int]) -> float:
    """The same, each pair by the product of its sizes."""
    around = graph[axis]
    return sum(sizes[other] * sizes[third] for other in around for third in around - graph[other] - {other})


RULES: dict[str, Rule] = {
    "least work next": price,
    "fewest new pairs": new_pairs,
    "smallest new pairs": weight_of_new_pairs,
    "most gain": lambda axis, graph, sizes: price(axis, graph, sizes) - sum(sizes[o] * sizes[axis] for o in graph[axis]),
    "smallest result": lambda axis, graph, sizes: price(axis, graph, sizes) / max(sizes[axis], 1),
}
