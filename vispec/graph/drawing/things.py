"""What drawings are made of: circles, boxes, curves and labels with coordinates, y downward, in points."""

import math
from dataclasses import dataclass
from typing import Literal

from vispec.graph.layout.layout import Rectangle
from vispec.graph.symbols import Text

Point = tuple[float, float]
Fill = Literal["none", "shade", "ink"]


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
    """A line from start to stop, bent toward `control` (a quadratic Bézier), with a solid triangle at its end where `head`.

    before: (start, control) of the pieces that come before this one, each of which ends where the next starts."""

    start: Point
    control: Point
    stop: Point
    head: bool
    dashed: bool
    before: tuple[tuple[Point, Point], ...] = ()

    @property
    def origin(self) -> Point:
        """Where the first piece starts."""
        return self.before[0][0] if self.before else self.start

    @property
    def pieces(self) -> list[tuple[Point, Point, Point]]:
        """(start, control, stop) of each."""
        starts = [*(start for start, _ in self.before), self.start]
        controls = [*(control for _, control in self.before), self.control]
        return list(zip(starts, controls, [*starts[1:], self.stop], strict=True))

    @property
    def straight(self) -> bool:
        (ax, ay), (bx, by), (cx, cy) = self.start, self.stop, self.control
        return abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) < math.dist(self.start, self.stop)  # within one point


@dataclass(frozen=True)
class Label:
    """Text whose baseline starts, centres or ends at `at`."""

    at: Point
    text: Text
    size: float
    anchor: Literal["start", "middle", "end"]
    halo: bool = False  # with a white rim, so that a line behind it stays out of the letters


Thing = Circle | Box | Curve | Label


def points(curve: Curve, count: int = 24) -> list[Point]:
    """Points along the curve, both ends included."""

    def at(t: float, a: Point, c: Point, b: Point) -> Point:
        x, y = ((1 - t) ** 2 * a[k] + 2 * t * (1 - t) * c[k] + t * t * b[k] for k in (0, 1))
        return x, y

    return [at(k / count, *piece) for piece in curve.pieces for k in range(count + 1)]


def holds(box: tuple[float, float, float, float], point: Point) -> bool:
    """Whether a point lies inside (left, top, right, bottom)."""
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]


def bounds(thing: Thing) -> tuple[float, float, float, float]:
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


def head(curve: Curve, length: float = 8.0, half: float = 3.2) -> tuple[Point, Point, Point, Point]:
    """The arrow head's tip and two corners, and the point where the line ends under it."""
    tip, control = curve.stop, curve.control
    size = math.dist(tip, control) or 1.0
    ux, uy = (tip[0] - control[0]) / size, (tip[1] - control[1]) / size
    back = (tip[0] - length * ux, tip[1] - length * uy)
    left, right = (back[0] - half * uy, back[1] + half * ux), (back[0] + half * uy, back[1] - half * ux)
    return tip, left, right, (tip[0] - 0.8 * length * ux, tip[1] - 0.8 * length * uy)
