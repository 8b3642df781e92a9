"""Layout → Scene: circles, curves and labels with coordinates, y downward, in points; what SVG, PNG and PDF draw alike."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vispec.graph.figure import Arrow, Mark
from vispec.graph.layout import CIRCLES, DOT, PAST, RADIUS, SMALL, SQUARE, Layout, Rectangle, body, fits, font
from vispec.graph.symbols import Text, advance

Point = tuple[float, float]
Fill = Literal["none", "shade", "ink"]
PAST_RADIUS = 17.0
MARGIN = 12.0
BENDS = (0.0, 16.0, -16.0, 28.0, -28.0, 42.0, -42.0, 60.0, -60.0, 84.0, -84.0)


@dataclass(frozen=True)
class Circle:
    centre: Point
    radius: float
    fill: Fill = "none"
    half: bool = False  # only the left half is filled
    dashed: bool = False


@dataclass(frozen=True)
class Box:
    rectangle: Rectangle
    corner: float
    fill: Fill = "none"
    dashed: bool = False


@dataclass(frozen=True)
class Curve:
    """A line from start to stop, bent toward `control` (a quadratic Bézier), with a solid triangle at its end where `head`."""

    start: Point
    control: Point
    stop: Point
    head: bool
    dashed: bool


@dataclass(frozen=True)
class Label:
    """Text whose baseline starts, centres or ends at `at`."""

    at: Point
    text: Text
    size: float
    anchor: Literal["start", "middle", "end"]
    halo: bool = False  # with a white rim, so that a line behind it stays out of the letters


@dataclass(frozen=True)
class Scene:
    """Things in the order of drawing, in a picture of this width and height."""

    title: str
    width: float
    height: float
    things: tuple[Circle | Box | Curve | Label, ...]


def make_scene(layout: Layout) -> Scene:
    """The whole drawing, shifted so that it starts at the margin."""
    curves = route(layout)
    things: list = [Box(rectangle, 8.0) for rectangle in layout.frames.values()]
    things += curves
    for mark in layout.figure.marks:
        things += _mark(layout, mark)
    things += _captions(layout, curves)
    right, bottom = (max((b[k] for b in map(_bounds, things)), default=0.0) for k in (2, 3))
    things += _footnotes(layout, bottom)
    things += _story(layout, right)
    return _framed(layout.figure.name, things)


def _framed(title: str, things: list) -> Scene:
    bounds = [_bounds(thing) for thing in things] or [(0.0, 0.0, 0.0, 0.0)]
    left, top = min(b[0] for b in bounds), min(b[1] for b in bounds)
    right, bottom = max(b[2] for b in bounds), max(b[3] for b in bounds)
    moved = tuple(_moved(thing, MARGIN - left, MARGIN - top) for thing in things)
    return Scene(title, right - left + 2 * MARGIN, bottom - top + 2 * MARGIN, moved)


# ---- arrows


def route(layout: Layout) -> list[Curve]:
    """One curve per arrow, straight where nothing is in its way; two arrows between the same marks never lie on each other."""
    drawn: set[frozenset[str]] = set()
    curves = []
    for arrow in sorted(layout.figure.arrows, key=lambda arrow: arrow.dashed):
        ends = frozenset((arrow.tail, arrow.head))
        bends = BENDS[1:] if ends in drawn else BENDS
        drawn.add(ends)
        curves.append(min((_curve(layout, arrow, bend) for bend in bends), key=lambda c: _badness(layout, arrow, c)))
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


def points(curve: Curve, count: int = 24) -> list[Point]:
    """Points along the curve, both ends included."""
    a, c, b = curve.start, curve.control, curve.stop
    at = [k / count for k in range(count + 1)]
    return [tuple((1 - t) ** 2 * a[k] + 2 * t * (1 - t) * c[k] + t * t * b[k] for k in (0, 1)) for t in at]  # type: ignore


def _badness(layout: Layout, arrow: Arrow, curve: Curve) -> float:
    """How many marks the curve passes through, then how far it is bent."""
    way = points(curve)
    hits = 0
    for key, centre in layout.centres.items():
        if key not in (arrow.tail, arrow.head):
            mark = layout.mark.get(key)
            half = (PAST_RADIUS, PAST_RADIUS) if mark is None else body(mark)
            hits += any(abs(x - centre[0]) < half[0] + 4 and abs(y - centre[1]) < half[1] + 4 for x, y in way)
    words = [label for mark in layout.figure.marks for label in _beside(layout, mark)]
    struck = sum(any(_holds(_bounds(label), point) for point in way) for label in words)
    middle = ((curve.start[0] + curve.stop[0]) / 2, (curve.start[1] + curve.stop[1]) / 2)
    return 1000.0 * hits + 300.0 * struck + math.dist(curve.control, middle)


def _holds(box: tuple[float, float, float, float], point: Point) -> bool:
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]


# ---- marks


def _mark(layout: Layout, mark: Mark) -> Iterator[Circle | Box | Label]:
    """The companions, the shape and the label."""
    fill: Fill = "shade" if mark.look in ("observed", "partial") else "none"
    for key, label in mark.past:
        yield Circle(layout.centres[key], PAST_RADIUS, "shade" if mark.look == "given" else fill, mark.look == "partial", dashed=True)
        yield _centred(layout.centres[key], label, _fitting(label, PAST_RADIUS))
    centre = layout.centres[mark.key]
    if mark.look in SQUARE:
        half = SQUARE[mark.look]
        square = Rectangle(centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)
        yield Box(square, 0.0, "ink" if mark.look == "factor" else "none", mark.tentative)
    elif mark.look == "given":
        yield Circle(centre, DOT, "ink")
    elif mark.look in CIRCLES:
        yield Circle(centre, RADIUS, fill, mark.look == "partial", mark.tentative)
        if mark.look == "deterministic":
            yield Circle(centre, RADIUS - 3.5, dashed=mark.tentative)
    if fits(mark):
        yield _centred(centre, mark.label, font(mark))
    else:
        yield from _beside(layout, mark)


def _fitting(label: Text, radius: float) -> float:
    """The largest size at which a label fits into a circle."""
    sizes = [size for size in (SIZE_OF_PAST, 11.5, 10.0) if label.width(size) <= 2 * radius - 4]
    return sizes[0] if sizes else (2 * radius - 4) / label.width(1.0)


SIZE_OF_PAST = 13.0


def _centred(centre: Point, text: Text, size: float) -> Label:
    return Label((centre[0], centre[1] + (0.24 if text.sub else 0.3) * size), text, size, "middle")


def _beside(layout: Layout, mark: Mark) -> Iterator[Label]:
    """The label of a mark that holds none: to its right, or where its arrows leave most room for a given's."""
    if fits(mark) or not mark.label.base:
        return
    (x, y), size = layout.centres[mark.key], font(mark)
    half = body(mark)[0] + 5
    places = {
        0.0: Label((x + half, y + 0.3 * size), mark.label, size, "start"),
        math.pi: Label((x - half, y + 0.3 * size), mark.label, size, "end"),
        -math.pi / 2: Label((x, y - half - 2), mark.label, size, "middle"),
        math.pi / 2: Label((x, y + half + 0.62 * size), mark.label, size, "middle"),
    }
    ways = _directions(layout, mark.key) if mark.look == "given" else []
    free = [place for place in places if all(abs(math.remainder(way - place, math.tau)) > 0.8 for way in ways)]
    yield places[free[0] if free else 0.0]


def _directions(layout: Layout, key: str) -> list[float]:
    """The angles at which arrows leave or reach a mark, y downward."""
    x, y = layout.centres[key]
    others = [a.head if a.tail == key else a.tail for a in layout.figure.arrows if key in (a.tail, a.head)]
    return [math.atan2(layout.centres[o][1] - y, layout.centres[o][0] - x) for o in others]


# ---- words around


def _captions(layout: Layout, curves: Iterable[Curve]) -> Iterator[Label]:
    """Each plate's range along its lower side: as far to the right as arrows, and the sides of crossing plates, leave room."""
    ways = [point for curve in curves for point in points(curve)]
    walls = [(x, box.top, box.bottom) for box in layout.frames.values() for x in (box.left, box.right)]
    for frame in layout.figure.frames:
        box = layout.frames.get(frame.name)
        if box is not None:
            slack = int(box.right - box.left - 14 - frame.label.width(SMALL)) // 6
            ends = [(box.right - 7 - 6 * k, box.bottom - 6) for k in range(max(slack, 0) + 1)]
            places = [Label(end, frame.label, SMALL, "end", halo=True) for end in ends]
            yield min(places, key=lambda place: _struck(_bounds(place), ways, walls))


def _struck(box: tuple[float, float, float, float], ways: Iterable[Point], walls: Iterable[tuple[float, float, float]]) -> int:
    """How many points of arrows, and vertical walls, run through a box."""
    through = sum(box[0] < x < box[2] and top < box[3] and box[1] < bottom for x, top, bottom in walls)
    return 10 * through + sum(_holds(box, point) for point in ways)


def _footnotes(layout: Layout, bottom: float) -> Iterator[Label]:
    """A line for each plate that no rectangle can show."""
    for line, name in enumerate(layout.unframed):
        frame = next(frame for frame in layout.figure.frames if frame.name == name)
        members = ", ".join(layout.mark[key].label.plain for key in frame.members if layout.mark[key].look != "factor")
        text = Text(f"{frame.label.base}: {members}")
        yield Label((0.0, bottom + 18 + 15 * line), text, SMALL, "start", halo=True)


def _story(layout: Layout, right: float) -> Iterator[Label]:
    """The laws, to the right of the picture, aligned at their ∼."""
    laws = layout.figure.laws
    top = min((y for _, y in layout.centres.values()), default=0.0) - RADIUS
    margin = right + 26 + max((advance(name, 12.0) for name, _ in laws), default=0.0)
    for line, (name, law) in enumerate(laws):
        y = top + 12 + 19 * line
        yield Label((margin, y), Text(name), 12.0, "end", halo=True)
        yield Label((margin + 6, y), Text(f"∼ {law}"), 12.0, "start", halo=True)


# ---- geometry of things


def _bounds(thing: Circle | Box | Curve | Label) -> tuple[float, float, float, float]:
    """left, top, right, bottom."""
    match thing:
        case Circle(centre=(x, y), radius=r):
            return x - r, y - r, x + r, y + r
        case Box(rectangle=box):
            return box.left, box.top, box.right, box.bottom
        case Curve():
            xs, ys = zip(*points(thing), strict=True)
            return min(xs), min(ys), max(xs), max(ys)
        case Label(at=(x, y), text=text, size=size, anchor=anchor):
            wide = text.width(size)
            left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
            return left, y - 0.75 * size, left + wide, y + 0.25 * size


def _moved(thing: Circle | Box | Curve | Label, dx: float, dy: float):
    def at(point: Point) -> Point:
        return point[0] + dx, point[1] + dy

    match thing:
        case Circle():
            return Circle(at(thing.centre), thing.radius, thing.fill, thing.half, thing.dashed)
        case Box(rectangle=box):
            moved = Rectangle(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy)
            return Box(moved, thing.corner, thing.fill, thing.dashed)
        case Curve():
            return Curve(at(thing.start), at(thing.control), at(thing.stop), thing.head, thing.dashed)
        case Label():
            return Label(at(thing.at), thing.text, thing.size, thing.anchor, thing.halo)


def head(curve: Curve, length: float = 8.0, half: float = 3.2) -> tuple[Point, Point, Point, Point]:
    """The arrow head's tip and two corners, and the point where the line ends under it."""
    tip, control = curve.stop, curve.control
    size = math.dist(tip, control) or 1.0
    ux, uy = (tip[0] - control[0]) / size, (tip[1] - control[1]) / size
    back = (tip[0] - length * ux, tip[1] - length * uy)
    left, right = (back[0] - half * uy, back[1] + half * ux), (back[0] + half * uy, back[1] - half * ux)
    return tip, left, right, (tip[0] - 0.8 * length * ux, tip[1] - 0.8 * length * uy)
