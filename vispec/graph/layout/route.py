"""The arrows of a drawing: straight where nothing is in the way, else bent around it."""

import math

from vispec.graph.drawing.things import Curve, Point, bounds, holds, points
from vispec.graph.layout.figure import Arrow
from vispec.graph.layout.labels import beside
from vispec.graph.layout.layout import Layout
from vispec.graph.layout.measure import DOT, PAST_RADIUS, RADIUS, SQUARE, body

BENDS = (0.0, 16.0, -16.0, 28.0, -28.0, 42.0, -42.0, 60.0, -60.0, 84.0, -84.0)


def route(layout: Layout) -> dict[Arrow, Curve]:
    """One curve per arrow, straight where nothing is in its way; two arrows between the same marks never lie on each other."""
    drawn: set[frozenset[str]] = set()
    curves = {}
    for arrow in sorted(layout.figure.arrows, key=lambda arrow: arrow.dashed):
        ends = frozenset((arrow.tail, arrow.head))
        bends = BENDS[1:] if ends in drawn else BENDS
        drawn.add(ends)
        choices = [_curve(layout, arrow, bend) for bend in bends]
        costs = [_badness(layout, arrow, curve) for curve in choices]
        curves[arrow] = choices[costs.index(min(costs))]
    return curves


def _curve(layout: Layout, arrow: Arrow, bend: float) -> Curve:
    a, b = layout.centres[arrow.tail], layout.centres[arrow.head]
    length = max(math.dist(a, b), 1e-9)
    across = ((a[1] - b[1]) / length, (b[0] - a[0]) / length)
    control = ((a[0] + b[0]) / 2 + bend * across[0], (a[1] + b[1]) / 2 + bend * across[1])
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


def _badness(layout: Layout, arrow: Arrow, curve: Curve) -> float:
    """How many marks the curve passes through, then how far it is bent."""
    way = points(curve)
    hits = 0
    for key, centre in layout.centres.items():
        if key not in (arrow.tail, arrow.head):
            mark = layout.mark.get(key)
            half = (PAST_RADIUS, PAST_RADIUS) if mark is None else body(mark)
            hits += any(abs(x - centre[0]) < half[0] + 4 and abs(y - centre[1]) < half[1] + 4 for x, y in way)
    words = [label for mark in layout.figure.marks if (label := beside(layout, mark))]
    struck = sum(any(holds(bounds(label), point) for point in way) for label in words)
    middle = ((curve.start[0] + curve.stop[0]) / 2, (curve.start[1] + curve.stop[1]) / 2)
    return 1000.0 * hits + 300.0 * struck + math.dist(curve.control, middle)
