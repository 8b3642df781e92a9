"""Where a tensor has which axis: positions are decided here, once for each value, so that few values must be turned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vispec.program.axis import Axis, ordered
from vispec.program.node import Dtype
from vispec.torch.text.code import Code, attribute, index, method, negated, number, unary


@dataclass(frozen=True)
class Value:
    """An expression of a node's value.

    dims: the axes of its dimensions, in order. Along what is not among them its node does not differ, or does so by a spread
    alone. python: a Python number and no tensor."""

    code: Code
    dims: tuple[Axis, ...] = ()
    dtype: Dtype = "real"
    python: bool = False


def merged(orders: Iterable[Sequence[Axis]]) -> tuple[Axis, ...]:
    """One order of all axes: as the longest has them, and as the others do where that leaves a choice; else as `ordered`."""
    rows = sorted((tuple(row) for row in orders), key=len, reverse=True)
    every = ordered({axis for row in rows for axis in row})
    if rows and len(rows[0]) == len(every):
        return rows[0]
    before: dict[Axis, set[Axis]] = {axis: set() for axis in every}
    for row in rows:
        chosen = [axis for axis in row]
        pairs = [(chosen[i], chosen[j]) for j in range(len(chosen)) for i in range(j)]
        if any(_reaches(before, late, early) for early, late in pairs):
            continue  # against an order that a longer one has
        for early, late in pairs:
            before[late].add(early)
    found: list[Axis] = []
    while len(found) < len(every):
        found.append(next(axis for axis in every if axis not in found and before[axis] <= {*found}))
    return tuple(found)


def _reaches(before: dict[Axis, set[Axis]], early: Axis, late: Axis) -> bool:
    """Whether `early` already comes before `late`."""
    pending, seen = [late], set[Axis]()
    while pending:
        axis = pending.pop()
        if axis is early:
            return True
        if axis not in seen:
            seen.add(axis)
            pending += before[axis]
    return False


def turned(value: Value, dims: Sequence[Axis]) -> Value:
    """The value with its own dimensions in another order."""
    order, old = tuple(dims), value.dims
    assert sorted(axis.serial for axis in order) == sorted(axis.serial for axis in old), f"{old} are not {order}"
    if order == old:
        return value
    if len(old) == 2:
        return replace(value, code=attribute(value.code, "T"), dims=order)
    places = [old.index(axis) for axis in order]
    moved = [at for at, place in enumerate(places) if at != place]
    if len(moved) == 2:
        pair = [at - len(old) if moved[0] == len(old) - 2 else at for at in moved]
        code = method(value.code, "transpose", *map(number, pair), named=True)
    else:
        step = _one_step(places)
        code = method(value.code, "movedim", *map(number, step), named=True) if step else None
        code = code or method(value.code, "permute", *map(number, places), named=True)
    return replace(value, code=code, dims=order)


def _one_step(places: list[int]) -> tuple[int, int] | None:
    """from, to, where one dimension alone is moved."""
    n = len(places)
    for start in range(n):
        for end in range(n):
            rest = [place for place in range(n) if place != start]
            if [*rest[:end], start, *rest[end:]] == places:
                return start, end if end < n - 1 else -1
    return None


def aligned(value: Value, dims: Sequence[Axis], leading: bool = False) -> Code:
    """The value so that it broadcasts to dimensions of these axes; `leading`: with all of them, of size 1 where it has none."""
    own = [axis for axis in dims if axis in value.dims]
    assert len(own) == len(value.dims), f"{value.dims} are not all in {tuple(dims)}"
    if value.python or (not own and not leading):
        return value.code
    inner = negated(value.code)
    if inner is not None:  # the sign stands outside
        return unary("-", aligned(replace(value, code=inner), dims, leading))
    value = turned(value, own)
    first = 0 if leading or not own else list(dims).index(own[0])
    items = [":" if axis in own else "None" for axis in list(dims)[first:]]
    while items and items[-1] == ":":
        items.pop()
    return index(value.code, items) if items else value.code
