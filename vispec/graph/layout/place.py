"""Where the marks go: a grid position for each, found by annealing from a layered start.

A plate is drawn as one rectangle, so a position must leave every plate's rectangle free of non-members, and keep plates that
share nothing apart; nested and crossed plates are not told apart here, they follow from the members. These laws
are penalties far above all others. The rest is taste: arrows point down, are short, straight, and cross nothing.

Columns are half the distance of two neighbours, so that a parent can stand between two children. All candidates are judged
together: `cols` and `rows` are (B, N) integers, a cost is (B,).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

CHAINS = 48  # fewer for large problems
STEPS = (120, 30)  # of cooling: so many, and so many more per mark, up to 20 marks
BROKEN = 1000.0
UNIT = (32.0, 70.0)  # of a column and a row, in the unit of the drawing
CLEARANCE = 25.0  # of an edge from the centre of a circle that it passes


@dataclass(frozen=True)
class Problem:
    """Marks 0..N-1. left, right: how many columns each reaches to either side (at least 1).

    edges: (tail, head, columns that the tail's end lies left of its mark, weight, how much it wants to point down: 0 or more).
    plates: the members of each, distinct sets. layers: a first row for each mark.
    bodies: what edges should not run through, as (mark, columns to its left): circles, companions too, and words to the right
    of a mark, at negative columns.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    edges: tuple[tuple[int, int, int, float, float], ...]
    plates: tuple[frozenset[int], ...]
    layers: tuple[int, ...]
    bodies: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return len(self.layers)

    @cached_property
    def inside(self) -> np.ndarray:
        """(P, N) whether mark n is in plate p."""
        return np.array([[n in plate for n in range(self.count)] for plate in self.plates], bool).reshape(-1, self.count)

    @cached_property
    def sides(self) -> np.ndarray:
        """(2, N) columns to the left and to the right."""
        return np.array([self.left, self.right])

    @cached_property
    def edge_table(self) -> np.ndarray:
        """(E, 5): tail, head, offset, weight, down."""
        return np.array(self.edges, float).reshape(-1, 5)

    @cached_property
    def pairs(self) -> np.ndarray:
        """(2, ·) pairs of marks."""
        return np.array(np.triu_indices(self.count, 1))

    @cached_property
    def strangers(self) -> np.ndarray:
        """(2, ·) plates and marks that are not in them."""
        return np.array(np.nonzero(~self.inside))

    @cached_property
    def apart(self) -> np.ndarray:
        """(2, ·) pairs of plates that share no member."""
        return _columns_of([(i, j) for i, a in enumerate(self.plates) for j, b in enumerate(self.plates[:i]) if not a & b])

    @cached_property
    def disjoint_edges(self) -> np.ndarray:
        """(2, ·) pairs of edges without a common end."""
        ends = [{(tail, offset), (head, 0)} for tail, head, offset, _, _ in self.edges]
        return _columns_of([(i, j) for i, a in enumerate(ends) for j, b in enumerate(ends[:i]) if not a & b])

    @cached_property
    def obstacles(self) -> np.ndarray:
        """(2, ·) edges and bodies at neither of their ends."""
        ends = [{(tail, offset), (head, 0)} for tail, head, offset, _, _ in self.edges]
        words = [{(tail, True), (head, True)} for tail, head, *_ in self.edges]
        free = [
            (e, b)
            for e, (own, beside) in enumerate(zip(ends, words, strict=True))
            for b, (mark, offset) in enumerate(self.bodies)
            if (mark, offset) not in own and (mark, offset < 0) not in beside
        ]
        return _columns_of(free)


def _columns_of(pairs: list[tuple[int, int]]) -> np.ndarray:
    """(2, len(pairs)), also where there are none."""
    return np.array(pairs, int).reshape(-1, 2).T


@lru_cache(maxsize=64)
def place(problem: Problem) -> tuple[tuple[int, int], ...]:
    """(column, row) of each mark, counted from 0; the same for the same problem."""
    if not problem.count:
        return ()
    rng = np.random.Generator(np.random.PCG64(7))
    cols, rows = _start(problem, rng)
    best = _anneal(problem, cols, rows, rng)
    cols, rows = _polish(problem, *best)
    used = {row: k for k, row in enumerate(sorted(set(rows.tolist())))}
    shift = int((cols - np.array(problem.left)).min())
    return tuple((int(c) - shift, used[int(r)]) for c, r in zip(cols, rows, strict=True))


def broken(problem: Problem, cells: Sequence[tuple[int, int]]) -> int:
    """How many of the laws the positions break; 0 unless the plates cannot be drawn as rectangles."""
    grid = np.array(cells, int).reshape(1, -1, 2)
    cols, rows = grid[..., 0], grid[..., 1]
    return int(_broken(problem, cols, rows, *_rectangles(problem, cols, rows))[0])


def _start(problem: Problem, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows from the layers, and every mark in columns of its own; each (B, N).

    The first chain keeps the members of a plate together, which breaks no law where no plates cross; others are shuffled."""
    chains = max(8, min(CHAINS, 600 // problem.count))
    widths = np.array(problem.left) + np.array(problem.right)
    orders = [rng.permutation(problem.count) if b else _grouped(problem) for b in range(chains)]
    cols = np.zeros((chains, problem.count), int)
    for b, order in enumerate(orders):
        cols[b, order] = np.cumsum(widths[order]) - np.array(problem.right)[order]
    return cols, np.tile(np.array(problem.layers), (chains, 1))


def _grouped(problem: Problem) -> np.ndarray:
    """The marks in an order in which the members of each plate follow each other, if no plates cross."""
    outermost = sorted(problem.plates, key=lambda plate: -len(plate))
    return np.array(sorted(range(problem.count), key=lambda n: (*(min(plate) for plate in outermost if n in plate), n)))


def _anneal(problem: Problem, cols: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The best placement (N,), (N,) that the chains come across while cooling down."""
    cost = _cost(problem, cols, rows)
    steps = STEPS[0] + STEPS[1] * min(problem.count, 20)
    best = int(cost.argmin())
    top = (cost[best], cols[best].copy(), rows[best].copy())
    for temperature in np.geomspace(6.0, 0.05, steps):
        new_cols, new_rows = _propose(problem, cols, rows, rng)
        new_cost = _cost(problem, new_cols, new_rows)
        take = rng.random(len(cost)) < np.exp(np.minimum(0.0, (cost - new_cost) / temperature))
        cols[take], rows[take], cost[take] = new_cols[take], new_rows[take], new_cost[take]
        best = int(cost.argmin())
        if cost[best] < top[0] - 1e-9:
            top = (cost[best], cols[best].copy(), rows[best].copy())
    return top[1], top[2]


def _propose(problem: Problem, cols: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For each chain one move: a mark, two marks swapped, a plate, or everything beyond a line."""
    cols, rows = cols.copy(), rows.copy()
    chains, plates = len(cols), len(problem.plates)
    kind, steps = rng.random(chains), np.rint(rng.normal(0, 2, (chains, 2))).astype(int)
    marks = rng.integers(problem.count, size=(chains, 2))
    swap = np.nonzero((kind >= 0.55) & (kind < 0.65))[0]
    for each in (cols, rows):
        each[swap[:, None], marks[swap]] = each[swap[:, None], marks[swap, ::-1]]
    whole = (kind >= 0.65) & (kind < 0.85) & (plates > 0)
    line = (kind >= 0.65) & ~whole  # whatever lies beyond the first mark's column or row moves by one
    own = np.arange(problem.count) == marks[:, :1]
    moved = own & (kind < 0.55)[:, None]
    if plates:
        moved |= problem.inside[marks[:, 0] % plates] & whole[:, None]
    both = (kind < 0.3) | (whole & (kind < 0.75))
    for each, step, free, beyond in ((cols, steps[:, 0], True, kind < 0.93), (rows, steps[:, 1], both, kind >= 0.93)):
        after = (each >= each[own][:, None]) & (line & beyond)[:, None]
        each += np.where(moved & np.atleast_1d(free)[:, None], step[:, None], 0) + np.where(after, np.sign(step)[:, None], 0)
    return cols, rows


def _polish(problem: Problem, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Single marks move to their best place nearby until none gains."""
    steps = [(dc, dr) for dc in range(-8, 9) for dr in range(-3, 4)]
    steps.sort(key=lambda step: (abs(step[0]) + abs(step[1]), step))
    moves = np.array(steps)
    gained = True
    while gained:
        gained = False
        for mark in range(problem.count):
            many_cols, many_rows = np.tile(cols, (len(moves), 1)), np.tile(rows, (len(moves), 1))
            many_cols[:, mark] += moves[:, 0]
            many_rows[:, mark] += moves[:, 1]
            cost = _cost(problem, many_cols, many_rows)
            best = int(cost.argmin())
            if cost[best] < cost[0] - 1e-9:
                cols, rows, gained = many_cols[best], many_rows[best], True
    return cols, rows


def _cost(problem: Problem, cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
    low, high = _rectangles(problem, cols, rows)
    cost = BROKEN * _broken(problem, cols, rows, low, high) + _size(cols, rows, low, high)
    if len(problem.edges):
        tails, heads = _ends(problem, cols, rows)
        cost = cost + _shape(problem, tails, heads) + 4.0 * _crossings(problem, tails, heads)
        cost = cost + 5.0 * _through_marks(problem, cols, rows, tails, heads)
    return cost


def _rectangles(problem: Problem, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The low and high corners (2, B, P) of the plates, in columns and rows; a row is the interval row..row+1."""
    shape = (2, len(cols), len(problem.plates))
    low, high = np.zeros(shape, int), np.zeros(shape, int)
    ends = ((cols - problem.sides[0], cols + problem.sides[1]), (rows, rows + 1))
    for plate, inside in enumerate(problem.inside):
        for axis, (start, stop) in enumerate(ends):
            low[axis, :, plate], high[axis, :, plate] = start[:, inside].min(1), stop[:, inside].max(1)
    return low, high


def _broken(problem: Problem, cols: np.ndarray, rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Marks on marks, marks in plates that are not theirs, plates over plates that share nothing."""
    left, right = cols - problem.sides[0], cols + problem.sides[1]
    one, two = problem.pairs
    clash = (left[:, one] < right[:, two]) & (left[:, two] < right[:, one]) & (rows[:, one] == rows[:, two])
    plate, mark = problem.strangers
    across = (left[:, mark] < high[0][:, plate]) & (right[:, mark] > low[0][:, plate])
    along = (rows[:, mark] < high[1][:, plate]) & (rows[:, mark] + 1 > low[1][:, plate])
    one, two = problem.apart
    overlap = ((low[..., one] < high[..., two]) & (low[..., two] < high[..., one])).all(0)
    return (clash.sum(1) + (across & along).sum(1) + overlap.sum(1)).astype(float)


def _size(cols: np.ndarray, rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A small price on the drawing and on each plate."""
    width, height = (high - low).sum(2)
    return 0.10 * np.ptp(cols, 1) + 0.25 * np.ptp(rows, 1) + 0.08 * width + 0.16 * height


def _ends(problem: Problem, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends (B, E) of the edges, as complex numbers: columns + i · rows."""
    tail, head, offset = problem.edge_table[:, :3].astype(int).T
    return cols[:, tail] - offset + 1j * rows[:, tail], cols[:, head] + 1j * rows[:, head]


def _shape(problem: Problem, tails: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Long, slanted, sideways and upward edges."""
    _, _, _, weight, down = problem.edge_table.T
    dc, dr = np.abs(np.real(heads - tails)), np.imag(heads - tails)
    against = np.where(dr < 0, 5.0 - 3.0 * dr, 0.0) * (down > 0) + 0.7 * (dr == 0) * down
    slant = 0.12 * (dc > 0) * (dr != 0)
    return (weight * (against + slant + 0.13 * np.minimum(dc, 4) ** 2 + 0.9 * np.maximum(dc - 4, 0) + 0.9 * np.abs(dr))).sum(1)


def _crossings(problem: Problem, tails: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """How many pairs of edges without a common end cross."""
    one, two = problem.disjoint_edges
    a, b, c, d = tails[:, one], heads[:, one], tails[:, two], heads[:, two]
    return ((_turn(a, b, c) * _turn(a, b, d) < 0) & (_turn(c, d, a) * _turn(c, d, b) < 0)).sum(1)


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Positive where a → b → c turns one way, negative where it turns the other; small integers, so exact."""
    return np.imag(np.conj(b - a) * (c - a))


def _through_marks(problem: Problem, cols: np.ndarray, rows: np.ndarray, tails: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """How often an edge passes through a circle that is at neither of its ends, companions included."""
    edge, body = problem.obstacles
    mark, offset = np.array(problem.bodies, int).T
    centre = (UNIT[0] * (cols[:, mark] - offset) + 1j * UNIT[1] * rows[:, mark])[:, body]
    start = (UNIT[0] * np.real(tails) + 1j * UNIT[1] * np.imag(tails))[:, edge]
    way = (UNIT[0] * np.real(heads) + 1j * UNIT[1] * np.imag(heads))[:, edge] - start
    along = (centre - start) / np.where(way == 0, 1.0, way)  # 0 at the tail and 1 at the head; the imaginary part is across
    gap = np.abs(along - np.clip(np.real(along), 0, 1)) * np.abs(way)
    return (gap < CLEARANCE).sum(1)
