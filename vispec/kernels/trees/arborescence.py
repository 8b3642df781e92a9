"""The best dependency tree with one root, by contracting circles (Chu and Liu 1965, Edmonds 1967)."""

Weight = tuple[int, float]


def best_tree(scores: list[list[float]], size: int) -> list[int]:
    """Heads of the best tree with one root (Chu and Liu 1965, Edmonds 1967); scores[i][h], of which `size` elements count.

    Weights are compared by how few arcs are impossible, then by how few leave the root, and only then by their score."""
    into: dict[int, dict[int, Weight]] = {}
    for i, row in enumerate(scores[:size], 1):
        arcs = ((h, s, (h == 0) + (size + 1) * (s == float("-inf"))) for h, s in enumerate(row[: size + 1]) if h != i)
        into[i] = {h: (-faults, 0.0 if faults > 1 else s) for h, s, faults in arcs}
    head = arborescence(into)
    return [head[i] for i in range(1, size + 1)]


def arborescence(into: dict[int, dict[int, Weight]]) -> dict[int, int]:
    """The head of each node; into[node][head] weighs an arc, 0 is the root. Contracts circles, then opens them again."""
    opened: list[tuple[int, dict[int, int], dict[int, int], dict[int, int]]] = []
    head, new = {v: max(arcs, key=arcs.__getitem__) for v, arcs in into.items()}, len(into)
    while circle := find_circle(head):
        new += 1
        chosen, inner = {u: head.pop(u) for u in circle}, {u: into.pop(u) for u in circle}
        enter, leave, gains = dict[int, int](), dict[int, int](), dict[int, Weight]()
        for u, arcs in inner.items():
            faults, score = arcs[chosen[u]]
            for v in arcs.keys() - inner.keys():
                gain = (arcs[v][0] - faults, arcs[v][1] - score)
                if v not in gains or gain > gains[v]:
                    gains[v], enter[v] = gain, u
        for v, arcs in into.items():
            leave[v] = max(circle, key=arcs.__getitem__)
            arcs[new] = arcs[leave[v]]
            for u in circle:
                del arcs[u]
            head[v] = new if head[v] in chosen else head[v]
        into[new], head[new] = gains, max(gains, key=gains.__getitem__)
        opened.append((new, chosen, enter, leave))
    for new, chosen, enter, leave in reversed(opened):
        above = head.pop(new)
        head = {v: leave[v] if h == new else h for v, h in head.items()} | chosen | {enter[above]: above}
    return head


def find_circle(head: dict[int, int]) -> list[int]:
    """The nodes of one circle of heads; empty if every path ends at 0."""
    done = {0}
    for start in head:
        path: list[int] = []
        while start not in done:
            done.add(start)
            path.append(start)
            start = head[start]
        if start in path:
            return path[path.index(start) :]
    return []
