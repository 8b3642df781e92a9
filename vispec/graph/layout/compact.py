"""Grid lines → coordinates along one axis, by difference constraints (as in the compaction of circuit drawings).

Marks of one row keep their distance, and what is not in a plate keeps clear of its rectangle. Of the two extreme solutions,
packed to the low and to the high side, the mean is taken: it satisfies the constraints too, and centres what has room.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import combinations, pairwise

from vispec.graph.build import crosses
from vispec.graph.layout.figure import Frame


@dataclass(frozen=True)
class Axis:
    """One direction: the grid line of each mark, its reach to the low and high side, the least gap, and the grid's unit.

    parting: how far apart the high sides of crossing frames are kept."""

    line: Mapping[str, int]
    low: Mapping[str, float]
    high: Mapping[str, float]
    gap: float
    unit: float
    parting: float


def solve(axis: Axis, frames: list[Frame], own: Mapping, other: Mapping, pads: dict, widths: Mapping[str, float]):
    """Centres of marks, low and high ends of frames; margins grow until captions fit and no two crossing sides coincide."""
    separations = _separations(axis, frames, own, other)
    while True:
        centre = _positions(axis, frames, separations, pads)
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


def _parted(axis: Axis, frames: list[Frame], low: Mapping, high: Mapping) -> tuple[str, float, float] | None:
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


def _tight(axis: Axis, frames: list[Frame], centre: Mapping[str, float], pads: Mapping) -> tuple[dict, dict]:
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


def _positions(axis: Axis, frames: list[Frame], separations: list, pads: Mapping) -> dict[str, float]:
    """The mean of the leftmost and the rightmost solution of the constraints, per mark."""
    constraints = [*_constraints(axis, frames, pads), *separations]
    nodes = {end for a, b, _ in constraints for end in (a, b)} | {("line", line) for line in axis.line.values()}
    least = dict.fromkeys(nodes, 0.0)
    _relax(least, constraints)
    most = dict.fromkeys(nodes, -max(least.values()))
    _relax(most, [(b, a, d) for a, b, d in constraints])
    return {key: (least["line", line] - most["line", line]) / 2 for key, line in axis.line.items()}


def _relax(position: dict, constraints: list) -> None:
    """Raise positions until position[b] - position[a] >= d for every (a, b, d); the constraints have no cycle, so that it is
    enough to look at each once, after all that come before its start."""
    after: dict = {}
    for a, b, d in constraints:
        after.setdefault(a, []).append((b, d))
    upward = TopologicalSorter({a: [b for b, _ in found] for a, found in after.items()}).static_order()  # ends before starts
    for a in reversed([*upward]):
        for b, d in after.get(a, ()):
            position[b] = max(position[b], position[a] + d)


def _constraints(axis: Axis, frames: list[Frame], pads: Mapping) -> list:
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
    return found


def _separations(axis: Axis, frames: list[Frame], own: Mapping, other: Mapping) -> list:
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
