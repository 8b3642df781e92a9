"""The words around a drawing: names beside marks, ranges of plates, laws."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from vispec.graph.drawing.things import Curve, Label, bounds, points
from vispec.graph.layout.figure import Mark
from vispec.graph.layout.layout import Layout
from vispec.graph.layout.measure import RADIUS, SMALL, body, fits, font
from vispec.graph.symbols import Text, advance


def beside(layout: Layout, mark: Mark) -> Label | None:
    """The label of a mark that does not hold it itself: on the side of a given or a net that its arrows leave free;
    to the right of others, and of a factor a little higher, so that an arrow passes below."""
    if fits(mark) or not mark.label.base:
        return None
    (x, y), size = layout.centres[mark.key], font(mark)
    half = body(mark)[0] + 5
    if mark.look == "factor":
        return Label((x + half, y - 4), mark.label, size, "start")
    places = {
        0.0: Label((x + half, y + 0.3 * size), mark.label, size, "start"),
        math.pi: Label((x - half, y + 0.3 * size), mark.label, size, "end"),
        -math.pi / 2: Label((x, y - half - 2), mark.label, size, "middle"),
        math.pi / 2: Label((x, y + half + 0.62 * size), mark.label, size, "middle"),
    }
    ways = _directions(layout, mark.key) if mark.look in ("given", "net") else []
    free = [place for place in places if all(abs(math.remainder(way - place, math.tau)) > 0.8 for way in ways)]
    return places[free[0] if free else 0.0]


def _directions(layout: Layout, key: str) -> list[float]:
    """The angles at which arrows leave or reach a mark, y downward."""
    x, y = layout.centres[key]
    others = [a.head if a.tail == key else a.tail for a in layout.figure.arrows if key in (a.tail, a.head)]
    return [math.atan2(layout.centres[o][1] - y, layout.centres[o][0] - x) for o in others]


def captions(layout: Layout, curves: Iterable[Curve]) -> dict[str, Label]:
    """The range of each plate, along its lower side: as far to the right as arrows and sides of other plates leave room."""
    ways = np.array([point for curve in curves for point in points(curve)], float).reshape(-1, 2)
    walls = np.array([(x, b.top, b.bottom) for b in layout.frames.values() for x in (b.left, b.right)], float).reshape(-1, 3)
    found = {}
    for frame in layout.figure.frames:
        box = layout.frames.get(frame.name)
        if box is not None:
            slack = int(box.right - box.left - 14 - frame.label.width(SMALL)) // 6
            ends = [(box.right - 7 - 6 * k, box.bottom - 6) for k in range(max(slack, 0) + 1)]
            places = [Label(end, frame.label, SMALL, "end", halo=True) for end in ends]
            near = ways[abs(ways[:, 1] - box.bottom) < 3 * SMALL]
            found[frame.name] = min(places, key=lambda place: _struck(bounds(place), near, walls))
    return found


def _struck(box: tuple[float, float, float, float], ways: np.ndarray, walls: np.ndarray) -> int:
    """How many points (·, 2) of arrows, and vertical walls (x, top, bottom), run through a box."""
    x, top, bottom = walls.T
    through = (box[0] < x) & (x < box[2]) & (top < box[3]) & (box[1] < bottom)
    return 10 * int(through.sum()) + int(((ways > box[:2]) & (ways < box[2:])).all(1).sum())


def footnotes(layout: Layout, left: float, bottom: float) -> Iterator[Label]:
    """A line for each plate that no rectangle can show."""
    for line, name in enumerate(layout.unframed):
        frame = next(frame for frame in layout.figure.frames if frame.name == name)
        members = ", ".join(layout.mark[key].label.plain for key in frame.members if layout.mark[key].look != "factor")
        text = Text(f"{frame.label.base}: {members}")
        yield Label((left, bottom + 18 + 15 * line), text, SMALL, "start", halo=True)


def story(layout: Layout, right: float) -> Iterator[Label]:
    """The laws, to the right of the picture, aligned at their ∼."""
    laws = layout.figure.laws
    top = min((y for _, y in layout.centres.values()), default=0.0) - RADIUS
    margin = right + 26 + max((advance(name, 12.0) for name, _ in laws), default=0.0)
    for line, (name, law) in enumerate(laws):
        y = top + 12 + 19 * line
        yield Label((margin, y), Text(name), 12.0, "end", halo=True)
        yield Label((margin + 6, y), Text(f"∼ {law}"), 12.0, "start", halo=True)
