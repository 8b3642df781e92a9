"""The arrows of a drawing: straight where nothing is in the way, else bent around it."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from vispec.graph.drawing.things import Curve, Point, bounds
from vispec.graph.layout.detour import detour, rounded
from vispec.graph.layout.figure import Arrow
from vispec.graph.layout.labels import beside
from vispec.graph.layout.layout import Layout
from vispec.graph.layout.measure import DOT, PAST_RADIUS, RADIUS, SQUARE, body

Array = np.ndarray

BENDS = (0.0, 16.0, -16.0, 28.0, -28.0, 42.0, -42.0, 60.0, -60.0, 84.0, -84.0)
WIDE = (120.0, -120.0, 170.0, -170.0, 240.0, -240.0, 340.0, -340.0, 480.0, -480.0)  # where none of these is free
ALONG = (0.5, 0.3, 0.7, 0.1, 0.9)  # where on the way a wide bend has its control
POINTS = np.linspace(0.0, 1.0, 161)
NEAR = 9.0  # of an arrow's tip from the start of another: they would look like one arrow with two heads


def route(layout: Layout) -> dict[Arrow, Curve]:
    """One curve per arrow, straight where nothing is in its way; two arrows between the same marks never lie on each other."""
    drawn: set[frozenset[str]] = set()
    curves: dict[Arrow, Curve] = {}
    starts: dict[str, list[Point]] = {}
    things = Things(layout)
    past = {key for mark in layout.figure.marks for key, _ in mark.past}
    for arrow in sorted(layout.figure.arrows, key=lambda arrow: (arrow.dashed, arrow.tail in past)):
        ends = frozenset((arrow.tail, arrow.head))
        choices = candidates(layout, arrow, ends in drawn)
        drawn.add(ends)
        curves[arrow] = things.best(layout, arrow, choices, starts.get(arrow.head, ()))
        starts.setdefault(arrow.tail, []).append(curves[arrow].origin)
    return curves


def candidates(layout: Layout, arrow: Arrow, again: bool) -> Iterator[list[Curve]]:
    """The curves to choose from: slight bends, then wide ones. again: an arrow lies between the two already."""
    yield [_curve(layout, arrow, bend) for bend in (BENDS[1:] if again else BENDS)]
    yield [_curve(layout, arrow, bend, along) for bend in (*BENDS[1:], *WIDE) for along in ALONG]


class Things:
    """What is in the way of arrows: boxes (N, 4) of marks and companions, by `keys`, and of words (W, 4)."""

    def __init__(self, layout: Layout):
        mark = layout.mark
        self.keys = {key: number for number, key in enumerate(layout.centres)}
        halves = [body(mark[key]) if key in mark else (PAST_RADIUS, PAST_RADIUS) for key in layout.centres]
        boxes = [
            (x - a - 4, y - b - 4, x + a + 4, y + b + 4) for (x, y), (a, b) in zip(layout.centres.values(), halves, strict=True)
        ]
        self.marks = np.array(boxes, float).reshape(-1, 4)
        labels = [label for each in layout.figure.marks if (label := beside(layout, each))]
        self.words = np.array([bounds(label) for label in labels], float).reshape(-1, 4)

    def best(self, layout: Layout, arrow: Arrow, choices: Iterable[Sequence[Curve]], starts: Sequence[Point]) -> Curve:
        """The curve that passes through the fewest marks, then words, and is bent the least; a detour where none is free."""
        own = [self.keys[arrow.tail], self.keys[arrow.head]]
        found: tuple[float, Curve] | None = None
        for curves in choices:
            ways = np.array([_points(curve) for curve in curves])
            cost = 1000.0 * struck(self.marks, ways, own) + 300.0 * struck(self.words, ways)
            cost += [_bent(curve) + 150.0 * any(math.dist(curve.stop, start) < NEAR for start in starts) for curve in curves]
            at = int(cost.argmin())
            if found is None or cost[at] < found[0]:
                found = float(cost[at]), curves[at]
            if found[0] < 150.0:
                break
        assert found is not None
        around = self.around(layout, arrow) if found[0] >= 1000.0 else None
        return around or found[1]

    def around(self, layout: Layout, arrow: Arrow) -> Curve | None:
        """A way in several pieces, where there is one."""
        others = np.delete(self.marks, [self.keys[arrow.tail], self.keys[arrow.head]], 0)
        corners = detour(others, layout.centres[arrow.tail], layout.centres[arrow.head])
        if corners is None:
            return None
        ends = _edge_of(layout, arrow.tail, corners[1]), _edge_of(layout, arrow.head, corners[-2])
        *before, (start, control, stop) = rounded([ends[0], *corners[1:-1], ends[1]])
        return Curve(start, control, stop, arrow.pointed, arrow.dashed, tuple(piece[:2] for piece in before))


def struck(boxes: Array, ways: Array, own: Sequence[int] = ()) -> Array:
    """How many boxes (N, 4), but its own, each of the ways (C, P, 2) passes through: (C,)."""
    low, high = ways.min((0, 1)), ways.max((0, 1))
    reached = (boxes[:, :2] < high).all(1) & (boxes[:, 2:] > low).all(1)
    reached[list(own)] = False
    near = boxes[reached, None, None]
    return ((ways > near[..., :2]) & (ways < near[..., 2:])).all(-1).any(-1).sum(0).astype(float)


def _points(curve: Curve) -> Array:
    """(P, 2) along a curve."""
    a, c, b = (np.array(point) for point in (curve.start, curve.control, curve.stop))
    t = POINTS[:, None]
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * c + t * t * b


def _bent(curve: Curve) -> float:
    middle = ((curve.start[0] + curve.stop[0]) / 2, (curve.start[1] + curve.stop[1]) / 2)
    return math.dist(curve.control, middle)


def _curve(layout: Layout, arrow: Arrow, bend: float, along: float = 0.5) -> Curve:
    a, b = layout.centres[arrow.tail], layout.centres[arrow.head]
    length = max(math.dist(a, b), 1e-9)
    across = ((a[1] - b[1]) / length, (b[0] - a[0]) / length)
    control = (a[0] + along * (b[0] - a[0]) + bend * across[0], a[1] + along * (b[1] - a[1]) + bend * across[1])
    start, stop = _edge_of(layout, arrow.tail, control), _edge_of(layout, arrow.head, control)
    return Curve(start, control, stop, arrow.pointed, arrow.dashed)


def _edge_of(layout: Layout, key: str, toward: Point) -> Point:
    """Where the way from the centre of a mark toward a point leaves its shape."""
    centre = layout.centres[key]
    mark = layout.mark.get(key)
    way = (toward[0] - centre[0], toward[1] - centre[1])
    length = math.hypot(*way) or 1.0
    if mark is not None and (mark.look == "param" or mark.look in SQUARE):
        half = body(mark)
        reach = min(half[k] / abs(way[k]) for k in (0, 1) if abs(way[k]) > 1e-9) if length > 1e-6 else 0.0
    else:
        reach = (PAST_RADIUS if mark is None else DOT if mark.look == "given" else RADIUS) / length
    return centre[0] + reach * way[0], centre[1] + reach * way[1]
