"""Figure → Layout: coordinates of every mark and companion, and one rectangle per plate, y downward, in points.

Columns and rows of the grid become coordinates by difference constraints (as in the compaction of circuit drawings): marks of
one row keep their distance, and what is not in a plate keeps clear of its rectangle. Of the two extreme solutions, packed to
the left and packed to the right, the mean is taken, which satisfies the constraints too and centres what has room.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import networkx as nx

from vispec.graph.build import crosses
from vispec.graph.figure import Figure, Frame, Mark
from vispec.graph.place import Problem, broken, place

RADIUS = 20.0
DOT = 5.0
SQUARE = {"factor": 4.5, "net": 7.0}
PAST = 64.0  # from the centre of a mark to that of its companion
PAST_RADIUS = 17.0
SIZE = 15.0  # of the letters in circles
SMALL = 10.5  # of labels beside marks and in the corners of plates
GAP, PAD, CAPTION = 22.0, 11.0, 14.0
COLUMN, ROW = 32.0, 30.0  # least distances of two columns, and of the marks of two rows


@dataclass(frozen=True)
class Extent:
    """How far a mark reaches from its centre."""

    left: float
    right: float
    up: float
    down: float


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

    @property
    def mark(self) -> Mapping[str, Mark]:
        return {mark.key: mark for mark in self.figure.marks}


def lay_out(figure: Figure) -> Layout:
    """Coordinates for a figure; the same for the same figure."""
    frames, dropped = list(figure.frames), []
    while True:
        problem = make_problem(figure, frames)
        cells = place(problem)
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


# ---- sizes of marks


def fits(mark: Mark) -> bool:
    """Whether the label of a circle goes inside it."""
    return mark.look in ("param",) or (mark.look in CIRCLES and mark.label.width(font(mark)) <= 2 * RADIUS - 5)


CIRCLES = ("latent", "observed", "partial", "deterministic")


def font(mark: Mark) -> float:
    """The size of a mark's label: full for letters, smaller for words."""
    if mark.look in ("factor", "net"):
        return SMALL
    if mark.look not in CIRCLES:
        return SIZE - 1
    sizes = [size for size in (SIZE, 13.0, 11.5, 10.0) if mark.label.width(size) <= 2 * RADIUS - 5]
    return sizes[0] if sizes else 12.0


def body(mark: Mark) -> tuple[float, float]:
    """Half the width and height of the mark's shape."""
    if mark.look == "param":
        return mark.label.width(SIZE - 1) / 2 + 3, 10.0
    half = {"given": DOT, **SQUARE}.get(mark.look, RADIUS)
    return half, half


def extent(mark: Mark) -> Extent:
    """The mark with its companions and label."""
    half, height = body(mark)
    beside = 0.0 if fits(mark) or not mark.label.base else mark.label.width(font(mark)) + 5
    left = len(mark.past) * PAST + (RADIUS if mark.past else 0)
    widest = max((label.width(SMALL) / 2 for _, label in mark.past), default=0.0)
    left = max(left, len(mark.past) * PAST + widest if mark.past else 0.0, half)
    if mark.look in ("given", "net"):  # the label may go to any side
        return Extent(max(left, half + beside), half + beside, half + 11, half + 11)
    return Extent(left, half + beside, 14 if mark.look == "factor" else height, height)


# ---- the grid


def make_problem(figure: Figure, frames: Iterable[Frame]) -> Problem:
    """The figure as marks, edges and sets of numbers."""
    number = {mark.key: k for k, mark in enumerate(figure.marks)}
    owner = {mark.key: (k, 0) for k, mark in enumerate(figure.marks)}
    owner |= {key: (number[mark.key], 2 * back) for mark in figure.marks for back, (key, _) in enumerate(mark.past, 1)}
    edges = {}
    for arrow in figure.arrows:
        (tail, offset), (head, _) = owner[arrow.tail], owner[arrow.head]
        if tail != head:
            old = edges.get((tail, head, offset), (0.0, 0.0))
            down = 0.0 if arrow.dashed else 3.0 if figure.marks[tail].plates == figure.marks[head].plates else 1.0
            edges[tail, head, offset] = (max(old[0], 0.15 if arrow.dashed else 1.0), max(old[1], down))
    sides = [extent(mark) for mark in figure.marks]
    sets = dict.fromkeys(frozenset(number[key] for key in frame.members) for frame in frames)
    return Problem(
        left=tuple(_columns(side.left) for side in sides),
        right=tuple(_columns(side.right) for side in sides),
        edges=tuple((*ends, *rest) for ends, rest in edges.items()),
        plates=tuple(sets),
        layers=_layers(len(number), [ends[:2] for ends, (_, down) in edges.items() if down and not ends[2]]),
        bodies=tuple(owner.values()),
    )


def _columns(reach: float) -> int:
    """How many columns a reach from the centre takes up; a bare circle takes one."""
    return max(1, 1 + round((reach - RADIUS) / COLUMN))


def _layers(count: int, edges: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """The longest way to each mark; an edge that would close a cycle is left out."""
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


@dataclass(frozen=True)
class _Axis:
    """One direction: the grid line of each mark, its reach to the low and high side, the least gap, and the grid's unit.

    parting: how far apart the high sides of crossing frames are kept."""

    line: Mapping[str, int]
    low: Mapping[str, float]
    high: Mapping[str, float]
    gap: float
    unit: float
    parting: float


def _coordinates(figure: Figure, frames: list[Frame], cells: Sequence[tuple[int, int]], unframed: tuple[str, ...]) -> Layout:
    keys = [mark.key for mark in figure.marks]
    sides = {mark.key: extent(mark) for mark in figure.marks}
    cols, rows = ({key: cell[axis] for key, cell in zip(keys, cells, strict=True)} for axis in (0, 1))
    across = _Axis(cols, {k: s.left for k, s in sides.items()}, {k: s.right for k, s in sides.items()}, GAP, COLUMN, 8.0)
    along = _Axis(rows, {k: s.up for k, s in sides.items()}, {k: s.down for k, s in sides.items()}, ROW, 62.0, CAPTION + 3)
    span = {k: (c - _columns(sides[k].left), c + _columns(sides[k].right)) for k, c in cols.items()}
    bands = {k: (r, r + 1) for k, r in rows.items()}
    widths = {frame.name: _caption_width(frame, figure, cols, rows) for frame in frames}
    x, left, right = _solve(across, frames, span, bands, dict.fromkeys(widths, (PAD, PAD)), widths)
    y, top, bottom = _solve(along, frames, bands, span, dict.fromkeys(widths, (PAD, PAD + CAPTION)), {})
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


def _solve(axis: _Axis, frames: list[Frame], own: Mapping, other: Mapping, pads: dict, widths: Mapping[str, float]):
    """Centres of marks, low and high ends of frames; margins grow until captions fit and no two crossing sides coincide."""
    while True:
        centre = _positions(axis, frames, own, other, pads)
        low, high = _tight(axis, frames, centre, pads)
        wanted = _wider(frames, low, high, widths) or _parted(axis, frames, low, high)
        if wanted is None:
            return centre, low, high
        name, before, after = wanted
        pads = pads | {name: (pads[name][0] + before, pads[name][1] + after)}


def _wider(frames: list[Frame], low: Mapping, high: Mapping, widths: Mapping[str, float]) -> tuple[str, float, float] | None:
    """The innermost frame too narrow for its caption, with what to add on each side; the frames around it may then fit."""
    for frame in reversed(frames):
        lack = widths.get(frame.name, 0.0) - (high[frame.name] - low[frame.name])
        if lack > 1e-6:
            return frame.name, lack / 2, lack / 2
    return None


def _parted(axis: _Axis, frames: list[Frame], low: Mapping, high: Mapping) -> tuple[str, float, float] | None:
    """The outer one of two crossing frames whose sides nearly coincide, with what to add there."""
    for one, two in combinations(frames, 2):
        if not crosses(set(one.members), set(two.members)):
            continue
        outer = one.name if high[one.name] > high[two.name] else two.name
        lack = axis.parting - abs(high[one.name] - high[two.name])
        if lack > 1e-6:
            return outer, 0.0, lack
        outer = one.name if low[one.name] < low[two.name] else two.name
        lack = 8.0 - abs(low[one.name] - low[two.name])
        if lack > 1e-6:
            return outer, lack, 0.0
    return None


def _tight(axis: _Axis, frames: list[Frame], centre: Mapping[str, float], pads: Mapping) -> tuple[dict, dict]:
    """The frames' ends around their members and the frames inside them."""
    low, high = {}, {}
    for frame in reversed(frames):
        inner = [name for name in low if _within(frames, name, frame)]
        lows = [centre[k] - axis.low[k] for k in frame.members] + [low[n] for n in inner]
        highs = [centre[k] + axis.high[k] for k in frame.members] + [high[n] for n in inner]
        low[frame.name], high[frame.name] = min(lows) - pads[frame.name][0], max(highs) + pads[frame.name][1]
    return low, high


def _within(frames: list[Frame], name: str, outer: Frame) -> bool:
    """Whether the frame `name`, which comes after `outer`, is drawn inside it."""
    inner = next(frame for frame in frames if frame.name == name)
    return set(inner.members) <= set(outer.members)


def _positions(axis: _Axis, frames: list[Frame], own: Mapping, other: Mapping, pads: Mapping) -> dict[str, float]:
    """The mean of the leftmost and the rightmost solution of the constraints, per mark."""
    constraints = _constraints(axis, frames, own, other, pads)
    nodes = {end for a, b, _ in constraints for end in (a, b)} | {("line", line) for line in axis.line.values()}
    least = dict.fromkeys(nodes, 0.0)
    _relax(least, constraints)
    most = dict.fromkeys(nodes, -max(least.values()))
    _relax(most, [(b, a, d) for a, b, d in constraints])
    return {key: (least["line", line] - most["line", line]) / 2 for key, line in axis.line.items()}


def _relax(position: dict, constraints: list) -> None:
    """Raise positions until position[b] - position[a] >= d for every (a, b, d); the constraints have no cycle."""
    moved = True
    while moved:
        moved = False
        for a, b, d in constraints:
            if position[b] < position[a] + d - 1e-9:
                position[b], moved = position[a] + d, True


def _constraints(axis: _Axis, frames: list[Frame], own: Mapping, other: Mapping, pads: Mapping) -> list:
    """(a, b, d): b lies at least d beyond a. Ends of frames are ("low", name) and ("high", name), grid lines ("line", n)."""
    lines = sorted(set(axis.line.values()))
    found: list = [(("line", a), ("line", b), axis.unit * (b - a)) for a, b in pairwise(lines)]
    for frame in frames:
        low, high = pads[frame.name]
        found += [(("low", frame.name), ("line", axis.line[k]), axis.low[k] + low) for k in frame.members]
        found += [(("line", axis.line[k]), ("high", frame.name), axis.high[k] + high) for k in frame.members]
        for inner in frames[frames.index(frame) + 1 :]:
            if set(inner.members) <= set(frame.members):
                found += [(("low", frame.name), ("low", inner.name), low), (("high", inner.name), ("high", frame.name), high)]
    return found + _separations(axis, frames, own, other)


def _separations(axis: _Axis, frames: list[Frame], own: Mapping, other: Mapping) -> list:
    """Between marks, and between a frame and what is neither inside nor across it, where they face each other on this axis."""
    boxes = [_Body({k}, own[k], other[k], ("line", n), ("line", n), axis.low[k], axis.high[k]) for k, n in axis.line.items()]
    for frame in frames:
        span, beside = ((min(s[k][0] for k in frame.members), max(s[k][1] for k in frame.members)) for s in (own, other))
        boxes.append(_Body(set(frame.members), span, beside, ("low", frame.name), ("high", frame.name), 0.0, 0.0))
    return [
        (one.high, two.low, one.after + axis.gap + two.before)
        for one in boxes
        for two in boxes
        if not one.members & two.members and one.span[1] <= two.span[0]
        if one.beside[0] < two.beside[1] and two.beside[0] < one.beside[1]
    ]


@dataclass(frozen=True)
class _Body:
    """A mark or a frame on one axis: the grid lines it spans there and on the other axis, its ends as unknowns, and its reach
    beyond them."""

    members: set[str]
    span: tuple[int, int]
    beside: tuple[int, int]
    low: tuple[str, int | str]
    high: tuple[str, int | str]
    before: float
    after: float
