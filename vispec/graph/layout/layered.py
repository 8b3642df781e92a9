"""Where the marks of a large figure go: layers of blocks, in time that grows as the figure does.

A plate is a block: its marks and the plates in it stand in layers, so that edges point down, and a layer's blocks side by side.
Blocks of different layers share no row and those of one layer no column, so that a plate's rectangle holds its members alone.
Within a layer, blocks stand as near as can be below and above what they are tied to, by least squares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vispec.graph.layout.place import Problem

SWEEPS = 4  # downward and upward in turn

Ties = dict[int, list[tuple[int, int, int]]]


@dataclass
class Block:
    """A mark, or a plate with what it holds. cells: (column, row) of each mark in it, from its own corner."""

    marks: frozenset[int]
    inside: list["Block"] = field(default_factory=list)
    cells: dict[int, tuple[int, int]] = field(default_factory=dict)
    width: int = 0
    height: int = 1


def place_in_layers(problem: Problem) -> list[tuple[int, int]]:
    """(column, row) of each mark, counted from 0."""
    whole = tree(problem)
    lay_out_block(whole, problem, [edge[:2] for edge in problem.edges if edge[4] and edge[0] != edge[1]])
    return [whole.cells[mark] for mark in range(problem.count)]


def tree(problem: Problem) -> Block:
    """Plates in plates, marks in the innermost; a plate that crosses another one is left out."""
    blocks = [Block(frozenset(range(problem.count)))]
    for plate in sorted(problem.plates, key=lambda plate: (-len(plate), min(plate))):
        if all(plate <= block.marks or not plate & block.marks for block in blocks):
            holder = min((block for block in blocks if plate <= block.marks), key=lambda block: len(block.marks))
            blocks.append(Block(plate))
            holder.inside.append(blocks[-1])
    innermost = {mark: block for block in blocks for mark in block.marks}  # the smaller ones come last
    for mark in range(problem.count):
        left, right = problem.left[mark], problem.right[mark]
        innermost[mark].inside.append(Block(frozenset([mark]), [], {mark: (left, 0)}, left + right))
    return blocks[0]


def lay_out_block(block: Block, problem: Problem, edges: Sequence[tuple[int, int]]) -> None:
    """Give the cells of all marks in it. edges: (tail, head), both within."""
    block.inside.sort(key=lambda inner: min(inner.marks))
    owner = {mark: k for k, inner in enumerate(block.inside) for mark in inner.marks}
    own = [(tail, head) for tail, head in edges if owner[tail] != owner[head]]
    within: dict[int, list[tuple[int, int]]] = {}
    for tail, head in edges:
        if owner[tail] == owner[head]:
            within.setdefault(owner[tail], []).append((tail, head))
    for k, inner in enumerate(block.inside):
        if inner.inside:
            lay_out_block(inner, problem, within.get(k, []))
    layers = layers_of(len(block.inside), list(dict.fromkeys((owner[tail], owner[head]) for tail, head in own)))
    columns = columns_of(block.inside, layers, ties_of(block.inside, owner, own))
    top = 0
    for layer in sorted(set(layers)):
        here = [k for k, each in enumerate(layers) if each == layer]
        for k in here:
            for mark, (column, row) in block.inside[k].cells.items():
                block.cells[mark] = (columns[k] + column, top + row)
        top += max(block.inside[k].height for k in here)
    block.width, block.height = max(columns[k] + inner.width for k, inner in enumerate(block.inside)), top


def layers_of(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest way to each; an edge that closes a cycle counts nothing. What reads nothing is just above a reader."""
    after: dict[int, list[int]] = {k: [] for k in range(count)}
    for tail, head in edges:
        after[tail].append(head)
    order = downward(count, after)
    place = {k: i for i, k in enumerate(order)}
    layers = [0] * count
    for tail in order:
        for head in after[tail]:
            if place[head] > place[tail]:
                layers[head] = max(layers[head], layers[tail] + 1)
    read = {head for _, head in edges}
    for k in range(count):
        below = [layers[head] for head in after[k] if layers[head] > layers[k]]
        if k not in read and below:
            layers[k] = min(below) - 1
    return layers


def downward(count: int, after: Mapping[int, Sequence[int]]) -> list[int]:
    """All of them, each before what comes after it as far as there are no cycles."""
    found: list[int] = []
    begun, done = set[int](), set[int]()
    for start in range(count):
        stack = [(start, iter(after[start]))] if start not in begun else []
        begun.add(start)
        while stack:
            k, rest = stack[-1]
            head = next((head for head in rest if head not in begun), None)
            if head is None:
                stack.pop()
                if k not in done:
                    done.add(k)
                    found.append(k)
            else:
                begun.add(head)
                stack.append((head, iter(after[head])))
    return found[::-1]


# ---- columns


def ties_of(inside: Sequence[Block], owner: Mapping[int, int], edges: Sequence[tuple[int, int]]) -> Ties:
    """Of each block: (other block, column of the edge's end there, column of its end here)."""
    ties: Ties = {k: [] for k in range(len(inside))}
    for tail, head in edges:
        a, b = owner[tail], owner[head]
        at_a, at_b = inside[a].cells[tail][0], inside[b].cells[head][0]
        ties[a].append((b, at_b, at_a))
        ties[b].append((a, at_a, at_b))
    return ties


def columns_of(inside: Sequence[Block], layers: Sequence[int], ties: Ties) -> list[int]:
    """The first column of each block, counted from 0."""
    rows = [[k for k, layer in enumerate(layers) if layer == each] for each in sorted(set(layers))]
    left = [0.0] * len(inside)
    for row in rows:
        at = 0.0
        for k in row:
            left[k], at = at, at + inside[k].width
    for sweep in range(SWEEPS):
        way = 1 if sweep % 2 == 0 else -1
        for row in rows[::way]:
            wanted = {k: wish(k, left, layers, ties, way) for k in row}
            row.sort(key=lambda k: (wanted[k], k))
            for k, at in zip(row, apart([wanted[k] for k in row], [inside[k].width for k in row]), strict=True):
                left[k] = at
    found = whole_columns(rows, left, inside)
    first = min(found)
    return [column - first for column in found]


def wish(k: int, left: Sequence[float], layers: Sequence[int], ties: Ties, way: int) -> float:
    """Where a block would stand between those it is tied to in the layers just swept, or in all."""
    swept = [left[b] + there - here for b, there, here in ties[k] if (layers[b] - layers[k]) * way < 0]
    every = swept or [left[b] + there - here for b, there, here in ties[k]]
    return sum(every) / len(every) if every else left[k]


def apart(wanted: Sequence[float], widths: Sequence[int]) -> list[float]:
    """Positions in this order, each a width at least beyond the one before, nearest to those wanted (pooled neighbours)."""
    starts = [0.0]
    for width in widths[:-1]:
        starts.append(starts[-1] + width)
    pools: list[tuple[float, int]] = []  # (mean, count) of wanted - start
    for want, start in zip(wanted, starts, strict=True):
        mean, count = want - start, 1
        while pools and pools[-1][0] > mean:
            before, number = pools.pop()
            mean, count = (before * number + mean * count) / (number + count), number + count
        pools.append((mean, count))
    shifts = [mean for mean, count in pools for _ in range(count)]
    return [start + shift for start, shift in zip(starts, shifts, strict=True)]


def whole_columns(rows: Sequence[Sequence[int]], left: Sequence[float], inside: Sequence[Block]) -> list[int]:
    """Rounded, and still apart."""
    found = [0] * len(inside)
    for row in rows:
        free: int | None = None
        for k in row:
            column = round(left[k])
            found[k] = column if free is None else max(column, free)
            free = found[k] + inside[k].width
    return found
