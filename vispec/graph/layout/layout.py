"""Figure → Layout: coordinates of every mark and companion, and one rectangle per plate, y downward, in points."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from vispec.graph.build import crosses
from vispec.graph.layout.compact import Axis, solve
from vispec.graph.layout.figure import Figure, Frame, Mark
from vispec.graph.layout.layered import place_in_layers
from vispec.graph.layout.measure import PAST, RADIUS, SMALL, extent, fits
from vispec.graph.layout.place import Problem, broken, place

GAP, PAD, CAPTION = 22.0, 11.0, 14.0
LARGE = 24  # marks from which on they stand in layers
COLUMN, ROW = 32.0, 30.0  # least distances of two columns, and of the marks of two rows


@dataclass(frozen=True)
class Rectangle:
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Layout:
    """centres: of every mark and companion by key. frames: outermost first. unframed: plates that no rectangle can show."""

    figure: Figure
    centres: Mapping[str, tuple[float, float]]
    frames: Mapping[str, Rectangle]
    unframed: tuple[str, ...]

    @cached_property
    def mark(self) -> Mapping[str, Mark]:
        return {mark.key: mark for mark in self.figure.marks}


def lay_out(figure: Figure) -> Layout:
    """Coordinates for a figure; the same for the same figure."""
    frames, dropped = list(figure.frames), []
    while True:
        problem = make_problem(figure, frames)
        cells = place(problem) if problem.count <= LARGE else place_in_layers(problem)
        if not frames or not broken(problem, cells):
            break
        dropped.append(_most_tangled(frames))  # no rectangles for these plates: the most tangled one is named at its members
        frames = [frame for frame in frames if frame.name != dropped[-1]]
    return _coordinates(figure, _nested(frames), cells, tuple(dropped))


def _most_tangled(frames: Sequence[Frame]) -> str:
    def crossings(frame: Frame) -> int:
        return sum(crosses(set(frame.members), set(other.members)) for other in frames)

    return max(frames, key=crossings).name


def _nested(frames: Iterable[Frame]) -> list[Frame]:
    """Outermost first; of two with the same members the one declared first is the outer one."""
    return sorted(frames, key=lambda frame: -len(frame.members))


# ---- the grid


def make_problem(figure: Figure, frames: Iterable[Frame]) -> Problem:
    """The figure as marks, edges and sets of numbers."""
    number = {mark.key: k for k, mark in enumerate(figure.marks)}
    owner = {mark.key: (k, 0) for k, mark in enumerate(figure.marks)}
    owner |= {key: (number[mark.key], 2 * back) for mark in figure.marks for back, (key, _) in enumerate(mark.past, 1)}
    present = {(arrow.tail, arrow.head) for arrow in figure.arrows}
    edges = {}
    for arrow in figure.arrows:
        (tail, offset), (head, _) = owner[arrow.tail], owner[arrow.head]
        if tail != head:
            old = edges.get((tail, head, offset), (0.0, 0.0))
            back = arrow.dashed or (arrow.head, figure.marks[tail].key) in present  # from the past of what comes next
            down = 0.0 if back else 3.0 if figure.marks[tail].plates == figure.marks[head].plates else 1.0
            edges[tail, head, offset] = (max(old[0], 0.15 if arrow.dashed else 1.0), max(old[1], down))
    sides = [extent(mark) for mark in figure.marks]
    words = [(k, -n) for k, mark in enumerate(figure.marks) if not fits(mark) for n in range(1, _columns(sides[k].right))]
    sets = dict.fromkeys(frozenset(number[key] for key in frame.members) for frame in frames)
    return Problem(
        left=tuple(_columns(side.left) for side in sides),
        right=tuple(_columns(side.right) for side in sides),
        edges=tuple((*ends, *rest) for ends, rest in edges.items()),
        plates=tuple(sets),
        layers=_layers(len(number), [ends[:2] for ends, (_, down) in edges.items() if down and not ends[2]]),
        bodies=(*owner.values(), *words),
    )


def _columns(reach: float) -> int:
    """How many columns a reach from the centre takes up; a bare circle takes one."""
    return max(1, 1 + round((reach - RADIUS) / COLUMN))


def _layers(count: int, edges: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """The longest way to each mark; an edge that would close a cycle is left out."""
    if count > LARGE:
        return (0,) * count  # they get others
    graph = nx.DiGraph()
    graph.add_nodes_from(range(count))
    for tail, head in edges:
        if not nx.has_path(graph, head, tail):
            graph.add_edge(tail, head)
    layers = dict.fromkeys(range(count), 0)
    for node in nx.topological_sort(graph):
        layers |= {child: max(layers[child], layers[node] + 1) for child in graph.successors(node)}
    return tuple(layers[node] for node in range(count))


# ---- coordinates


def _coordinates(figure: Figure, frames: list[Frame], cells: Sequence[tuple[int, int]], unframed: tuple[str, ...]) -> Layout:
    keys = [mark.key for mark in figure.marks]
    sides = {mark.key: extent(mark) for mark in figure.marks}
    cols, rows = ({key: cell[axis] for key, cell in zip(keys, cells, strict=True)} for axis in (0, 1))
    across = Axis(cols, {k: s.left for k, s in sides.items()}, {k: s.right for k, s in sides.items()}, GAP, COLUMN, 8.0)
    along = Axis(rows, {k: s.up for k, s in sides.items()}, {k: s.down for k, s in sides.items()}, ROW, 62.0, CAPTION + 3)
    span = {k: (c - _columns(sides[k].left), c + _columns(sides[k].right)) for k, c in cols.items()}
    bands = {k: (r, r + 1) for k, r in rows.items()}
    widths = {frame.name: _caption_width(frame, figure, cols, rows) for frame in frames}
    x, left, right = solve(across, frames, span, bands, dict.fromkeys(widths, (PAD, PAD)), widths)
    y, top, bottom = solve(along, frames, bands, span, dict.fromkeys(widths, (PAD, PAD + CAPTION)), {})
    centres = {key: (x[key], y[key]) for key in keys}
    for mark in figure.marks:
        centres |= {key: (x[mark.key] - back * PAST, y[mark.key]) for back, (key, _) in enumerate(mark.past, 1)}
    boxes = {frame.name: Rectangle(*(side[frame.name] for side in (left, top, right, bottom))) for frame in frames}
    return Layout(figure, centres, boxes, unframed)


def _caption_width(frame: Frame, figure: Figure, cols: Mapping[str, int], rows: Mapping[str, int]) -> float:
    """The least width of a frame: its caption fits, beside any arrow that leaves the last row of a narrow frame downward."""
    width = frame.label.width(SMALL) + 12
    last = max(rows[key] for key in frame.members)
    if len({cols[key] for key in frame.members}) > 1:
        return width
    ends = {key: mark.key for mark in figure.marks for key in (mark.key, *(past for past, _ in mark.past))}
    leaving = [arrow for arrow in figure.arrows if ends[arrow.tail] in frame.members and rows[ends[arrow.head]] > last]
    entering = [arrow for arrow in figure.arrows if arrow.head in frame.members and rows[ends[arrow.tail]] > last]
    return 2 * width + 6 if leaving or entering else width
