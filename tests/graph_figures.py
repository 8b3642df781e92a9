"""Random figures: marks of all looks in nested plates, arrows from earlier to later ones, and now and then a past."""

import random

from vispec.graph.drawing.things import points
from vispec.graph.layout.figure import Arrow, Figure, Frame, Mark
from vispec.graph.layout.layout import Layout
from vispec.graph.layout.measure import PAST_RADIUS, body
from vispec.graph.layout.route import route
from vispec.graph.symbols import Text

LOOKS = ("latent", "observed", "partial", "given", "deterministic", "param")


def random_figure(seed: int, count: int, reach: int = 6) -> Figure:
    """reach: how far back what a mark reads was made, at most."""
    chance = random.Random(seed)
    members = [list(range(count))]
    for _ in range(chance.randrange(5)):
        outer = chance.choice(members)
        low = chance.randrange(len(outer))
        inner = outer[low : low + chance.randint(1, max(1, len(outer) // 2))]
        if all(set(inner) <= set(other) or not set(inner) & set(other) or set(other) <= set(inner) for other in members):
            members.append(inner)
    marks = []
    for k in range(count):
        past = ((f"m{k}@1", Text("m", "t−1")),) if chance.random() < 0.15 else ()
        plates = tuple(f"p{p}" for p, inside in enumerate(members) if k in inside)
        marks.append(Mark(f"m{k}", chance.choice(LOOKS), Text("m" * chance.randint(1, 9)), plates, past))
    arrows = [
        Arrow(f"m{a}", f"m{b}") for b in range(count) for a in range(max(0, b - reach), b) if chance.random() < 1.5 / reach
    ]
    arrows += [Arrow(key, mark.key) for mark in marks for key, _ in mark.past]
    frames = [Frame(f"p{p}", tuple(f"m{k}" for k in inside), Text(f"p{p} = 1..N")) for p, inside in enumerate(members)]
    return Figure("random", tuple(marks), tuple(dict.fromkeys(arrows)), tuple(frames))


def runs_under(layout: Layout) -> list[tuple[Arrow, str]]:
    """(arrow, mark) where an arrow passes a mark that is at neither of its ends."""
    found = []
    for arrow, curve in route(layout).items():
        way = points(curve, 60)
        for key, (x, y) in layout.centres.items():
            if key not in (arrow.tail, arrow.head):
                half = body(layout.mark[key]) if key in layout.mark else (PAST_RADIUS, PAST_RADIUS)
                if any(abs(px - x) < half[0] and abs(py - y) < half[1] for px, py in way):
                    found.append((arrow, key))
    return found
