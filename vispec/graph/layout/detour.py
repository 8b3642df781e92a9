"""A way around everything, where no single bend is free: the shortest one on a grid, pulled tight, with rounded corners."""

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from vispec.graph.drawing.things import Point

STEP = 11.0  # of the grid
MARGIN = 44.0  # around the drawing
CORNER = 10.0  # radius of a corner, which is cut by less than what keeps arrows off marks
MOST = 60_000  # grid points beyond which nothing is searched

Array = np.ndarray
Piece = tuple[Point, Point, Point]


def detour(boxes: Array, start: Point, stop: Point) -> list[Point] | None:
    """The corners of a way from start to stop, both included, that enters no box of (N, 4); None where there is none."""
    if not len(boxes):
        return [start, stop]
    low = np.minimum(boxes[:, :2].min(0), np.minimum(start, stop)) - MARGIN
    high = np.maximum(boxes[:, 2:].max(0), np.maximum(start, stop)) + MARGIN
    size = np.ceil((high - low) / STEP).astype(int) + 1
    if int(size.prod()) > MOST:
        return None
    taken = np.zeros(size, bool)
    for left, top, right, bottom in ((boxes - np.tile(low, 2)) / STEP).tolist():
        taken[math.ceil(left) : math.floor(right) + 1, math.ceil(top) : math.floor(bottom) + 1] = True

    def cell(point: Point) -> tuple[int, int]:
        x, y = np.rint((np.array(point) - low) / STEP).astype(int).tolist()
        return x, y

    cells = shortest(taken, cell(start), cell(stop))
    if cells is None:
        return None
    way = [start, *((float(low[0] + x * STEP), float(low[1] + y * STEP)) for x, y in cells[1:-1]), stop]
    return pulled(boxes, way)


def shortest(taken: Array, start: tuple[int, int], stop: tuple[int, int]) -> list[tuple[int, int]] | None:
    """The cells of a shortest way, by A*."""
    best, came = {start: 0.0}, dict[tuple[int, int], tuple[int, int]]()
    heap = [(math.dist(start, stop), start)]
    while heap:
        _, here = heapq.heappop(heap)
        if here == stop:
            found = [here]
            while found[-1] != start:
                found.append(came[found[-1]])
            return found[::-1]
        for beside in around(taken, here, stop):
            length = best[here] + math.dist(here, beside)
            if length < best.get(beside, math.inf) - 1e-9:
                best[beside], came[beside] = length, here
                heapq.heappush(heap, (length + math.dist(beside, stop), beside))
    return None


def around(taken: Array, cell: tuple[int, int], stop: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The cells beside one that can be reached without a corner being cut; the last one need not be free."""
    width, height = taken.shape
    for dx, dy in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        x, y = cell[0] + dx, cell[1] + dy
        if not (0 <= x < width and 0 <= y < height):
            continue
        if (x, y) == stop or not (taken[x, y] or taken[cell[0], y] or taken[x, cell[1]]):
            yield x, y


def pulled(boxes: Array, way: Sequence[Point]) -> list[Point]:
    """The same way with as few corners as can be."""
    found, at = [way[0]], 0
    while at < len(way) - 1:
        at = next((k for k in range(len(way) - 1, at + 1, -1) if is_free(boxes, way[at], way[k])), at + 1)
        found.append(way[at])
    return found


def is_free(boxes: Array, a: Point, b: Point) -> bool:
    """Whether a straight line enters no box."""
    count = max(2, int(math.dist(a, b) / 3))
    line = np.linspace(a, b, count)[:, None]
    return not ((line > boxes[:, :2]) & (line < boxes[:, 2:])).all(-1).any()


def rounded(corners: Sequence[Point]) -> list[Piece]:
    """(start, control, stop) of the pieces of a way: straight ones, and one for each corner."""
    found: list[Piece] = []
    here = corners[0]
    for corner, after in pairwise(corners[1:]):
        reach = min(CORNER, math.dist(here, corner) / 2, math.dist(corner, after) / 2)
        into, out = toward(corner, here, reach), toward(corner, after, reach)
        found += [(here, middle(here, into), into), (into, corner, out)]
        here = out
    return [*found, (here, middle(here, corners[-1]), corners[-1])]


def toward(a: Point, b: Point, reach: float) -> Point:
    """The point so far from a on the way to b."""
    length = math.dist(a, b) or 1.0
    return a[0] + (b[0] - a[0]) * reach / length, a[1] + (b[1] - a[1]) * reach / length


def middle(a: Point, b: Point) -> Point:
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
