"""Layout → Scene: all that a drawing shows, in the order of drawing; SVG, PNG and PDF draw it alike."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vispec.graph.drawing.things import Box, Circle, Fill, Label, Point, Thing, bounds
from vispec.graph.layout.figure import Mark
from vispec.graph.layout.labels import beside, captions, footnotes, story
from vispec.graph.layout.layout import Layout, Rectangle
from vispec.graph.layout.measure import CIRCLES, DOT, PAST_RADIUS, RADIUS, SQUARE, fits, font
from vispec.graph.layout.route import route
from vispec.graph.symbols import Text

MARGIN = 12.0
SIZE_OF_PAST = 13.0


@dataclass(frozen=True)
class Scene:
    """Things in the order of drawing, and the part of the plane that shows them all."""

    title: str
    view: Rectangle
    things: tuple[Thing, ...]


def make_scene(layout: Layout) -> Scene:
    """The whole drawing, with a margin around it."""
    things = picture(layout)
    things += words_around(layout, things)
    return Scene(layout.figure.name, _hull(things, MARGIN), tuple(things))


def picture(layout: Layout) -> list[Thing]:
    """Plates, arrows, marks and captions, without the words around them."""
    curves = list(route(layout).values())
    things: list[Thing] = [Box(rectangle, 8.0) for rectangle in layout.frames.values()]
    things += curves
    for mark in layout.figure.marks:
        things += _mark(layout, mark)
    things += captions(layout, curves).values()
    return things


def words_around(layout: Layout, things: Iterable[Thing]) -> list[Label]:
    """The laws to the right of what is drawn, and below it a line for each plate that has no rectangle."""
    hull = _hull(things, 0.0)
    return [*footnotes(layout, hull.left, hull.bottom), *story(layout, hull.right)]


def _hull(things: Iterable[Thing], margin: float) -> Rectangle:
    """The least rectangle around all things, and a margin more."""
    corners = [bounds(thing) for thing in things] or [(0.0, 0.0, 0.0, 0.0)]
    left, top = (min(corner[k] for corner in corners) - margin for k in (0, 1))
    right, bottom = (max(corner[k] for corner in corners) + margin for k in (2, 3))
    return Rectangle(left, top, right, bottom)


def _mark(layout: Layout, mark: Mark) -> Iterator[Thing]:
    """The companions, the shape and the label."""
    fill: Fill = "shade" if mark.look in ("observed", "partial") else "none"
    past_fill: Fill = "shade" if mark.look == "given" else fill
    for key, label in mark.past:
        yield Circle(layout.centres[key], PAST_RADIUS, past_fill, mark.look == "partial", dashed=True)
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
    elif label := beside(layout, mark):
        yield label


def _fitting(label: Text, radius: float) -> float:
    """The largest size at which a label fits into a circle."""
    return min(SIZE_OF_PAST, (2 * radius - 4) / label.width(1.0))


def _centred(centre: Point, text: Text, size: float) -> Label:
    return Label((centre[0], centre[1] + (0.24 if text.sub else 0.3) * size), text, size, "middle")
