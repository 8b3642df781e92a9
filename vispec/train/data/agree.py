"""Lists of one plate made to agree in length, and missing ones filled."""

from itertools import accumulate

import numpy as np

from vispec.model.model import Model
from vispec.train.data.arrange import Arranged, Path
from vispec.train.data.columns import Array, fill, lengths
from vispec.train.data.diagnostics import LIMIT, Problems
from vispec.train.data.sizes import Sizes


def agree(
    model: Model, arranged: dict[str, Arranged], extra: dict[str, int], sizes: Sizes, problems: Problems
) -> dict[Path, Array]:
    """Check that lists along one plate are equally long in all variables, and fill those that are missing.

    extra: how many symbols are put around each sequence of a variable. Returns lengths, symbols included, by path of plates."""
    found: dict[Path, Array] = {}
    paths = {path for a in arranged.values() for path in accumulate((axis.plate or "",) for axis in a.layout.head)}
    for path in sorted(paths, key=lambda path: (len(path), path)):
        group = [a for a in arranged.values() if a.layout.path[: len(path)] == path]
        found[path] = _agree_on(group, path, extra, sizes, problems)
        problems.check()
    _cross(model, found, arranged, problems)
    return found


def _agree_on(group: list[Arranged], path: Path, extra: dict[str, int], sizes: Sizes, problems: Problems) -> Array:
    depth = len(path) - 1
    agreed: Array | None = None
    teller: Arranged | None = None
    for a in group:
        level = _lengths_with_symbols(a, depth, extra)
        missing = np.flatnonzero(level < 0)
        if len(missing) and not a.layout.partial:
            for i in missing[:LIMIT]:
                a.column.report(problems, "D117", f"the list is missing; `{a.layout.name}` is not partial", depth, int(i))
        if agreed is None or teller is None:
            agreed, teller = level, a
            continue
        differ = np.flatnonzero((agreed >= 0) & (level >= 0) & (agreed != level))
        for i in differ[:LIMIT]:
            message = f"{level[i]} elements along plate `{path[-1]}`, but `{teller.layout.name}` has {agreed[i]}"
            a.column.report(problems, "D115", message, depth, int(i), _symbols_help(a, teller, extra))
        problems.more += max(0, len(differ) - LIMIT)
        agreed = np.where(agreed < 0, level, agreed)
    if agreed is None or teller is None:
        raise ValueError(f"no variable along {path}")
    _check_fixed(teller, depth, agreed, sizes, problems)
    told = any(not a.layout.partial for a in group)  # D117 of the same lists
    for i in np.flatnonzero(agreed < 0)[: 0 if told else 1]:
        message = f"the list is missing in all variables along plate `{path[-1]}`, so its length is unknown"
        teller.column.report(problems, "D130", message, depth, int(i))
    problems.check()
    for a in group:
        own = lengths(a.column.levels[depth], len(agreed))
        if np.any(own < 0):
            a.column = fill(a.column, depth, np.where(own < 0, agreed, own))
            a.filled = own < 0
    return agreed


def _lengths_with_symbols(a: Arranged, depth: int, extra: dict[str, int]) -> Array:
    level = lengths(a.column.levels[depth], a.column.parents(depth))
    more = extra.get(a.layout.name, 0) if depth == len(a.layout.head) - 1 else 0
    return np.where(level < 0, -1, level + more) if more else level


def _symbols_help(a: Arranged, b: Arranged, extra: dict[str, int]) -> str | None:
    counts = [f"`{x.layout.name}` has {n} added by its vocabulary" for x in (a, b) if (n := extra.get(x.layout.name, 0))]
    return "; ".join(counts) or None


def _check_fixed(a: Arranged, depth: int, agreed: Array, sizes: Sizes, problems: Problems) -> None:
    """A plate of fixed size around a ragged one."""
    axis = a.layout.head[depth]
    if axis.ragged or not len(agreed):
        return
    present = agreed[agreed >= 0]
    if len(present):
        sizes.learn(axis.size, int(present[0]), f"column `{a.column.label}`")
    wanted = sizes.value(axis.size) if axis.size is not None else int(present[0]) if len(present) else 0
    for i in np.flatnonzero((agreed >= 0) & (agreed != wanted))[:LIMIT]:
        a.column.report(problems, "D116", f"{axis.what} has {agreed[i]} values, not {wanted}", depth, int(i))
    agreed[agreed < 0] = wanted


def _cross(model: Model, found: dict[Path, Array], arranged: dict[str, Arranged], problems: Problems) -> None:
    """A ragged plate opened again inside another has the lengths of its first opening; add those to `found` where absent."""
    for path in list(found):
        plate = model.plate[path[-1]]
        own = (*(name for name in plate.inside if not model.plate[name].data), plate.name)
        if not plate.ragged or own == path or own[:-1] != path[: len(own) - 1]:
            continue
        owner = _ancestors(found, path, len(own) - 1)
        if own not in found:
            first, where = np.unique(owner, return_index=True)
            parents = len(found[own[:-1]]) if len(own) > 1 else next(iter(arranged.values())).column.origin.rows
            known = np.zeros(parents, np.int64)
            known[first] = found[path][where]
            found[own] = known
        teller = next(a for a in arranged.values() if a.layout.path[: len(path)] == path)
        for i in np.flatnonzero(found[path] != found[own][owner])[:LIMIT]:
            message = f"{found[path][i]} elements along plate `{plate.name}`, which has {found[own][owner[i]]} here"
            teller.column.report(problems, "D115", message, len(path) - 1, int(i))
    problems.check()


def _ancestors(found: dict[Path, Array], path: Path, depth: int) -> Array:
    """For each list at the end of `path`, the element after `depth` levels that it stands in."""
    rows = np.arange(len(found[path[: depth + 1]]))
    for d in range(depth, len(path) - 1):
        rows = np.repeat(rows, found[path[: d + 1]])
    return rows
