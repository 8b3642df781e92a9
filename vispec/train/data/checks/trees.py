"""What heads in the data must be: those of a tree that the law allows, or, where some are missing, of a part of one."""

import numpy as np

from vispec.model.model import Draw, Variable
from vispec.train.data.arrange import Arranged
from vispec.train.data.columns import Array, lengths, offsets
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding import values as leaf

UNKNOWN = -1  # the head of an element that the data do not tell


def check_trees(a: Arranged, heads: Array, variable: Variable, problems: Problems) -> None:
    """No circles, one root unless the law allows several, and no arcs that cross where it forbids these."""
    depth, options = len(a.layout.head) - 1, variable.law.options if isinstance(variable.law, Draw) else ()
    level = lengths(a.column.levels[depth], a.column.parents(depth))
    level = np.maximum(level, 0)
    start = np.repeat(offsets(level, 0)[:-1], level)
    message = "the heads run in a circle and never reach the root"
    leaf.report_all(a.column, problems, "D129", in_circle(heads, start, level), lambda i: message)
    if ("roots", "any") not in options:
        tree, roots, again = np.repeat(np.arange(len(level)), level), np.flatnonzero(heads == 0), np.zeros(len(heads), bool)
        again[roots[1:][tree[roots[1:]] == tree[roots[:-1]]]] = True
        once = "this element hangs from the root, as one before it does, and a tree has one root, unless its law says roots=any"
        leaf.report_all(a.column, problems, "D129", again, lambda i: once)
    if ("projective", True) in options:
        crossed = "another arc crosses the one from this element's head, and its law says projective=true"
        advice = "leave such rows out, or such heads in a partial tree; without projective=true arcs may cross"
        leaf.report_all(a.column, problems, "D129", crossing(heads, start, level), lambda i: crossed, advice)


def in_circle(heads: Array, start: Array, level: Array) -> Array:
    """Which elements never reach the root, or an element of unknown head: the map from element to head is squared until all
    paths can have ended."""
    root = len(heads)
    up = np.append(np.where(heads <= 0, root, start + heads - 1), root)
    for _ in range(int(level.max(initial=1)).bit_length()):
        up = up[up]
    return up[:-1] != root


def crossing(heads: Array, start: Array, level: Array) -> Array:
    """Above which elements' arcs there is an end of an arc whose other end is not: by the least and the greatest other end of
    the arcs at each place, of which ranges are looked up in tables of two windows of a power of two (Bender and Farach-Colton
    2000). Elements count from 1 in each tree, the root is 0."""
    known, at, own = heads >= 0, np.arange(len(heads)), np.arange(len(heads)) - start + 1
    least, most = np.full(len(heads), len(heads) + 1), np.full(len(heads), -1)
    hanging = np.flatnonzero(heads > 0)
    for table, extreme in ((least, np.minimum), (most, np.maximum)):
        table[known] = heads[known]
        extreme.at(table, start[hanging] + heads[hanging] - 1, own[hanging])
    first, last = np.minimum(heads, own), np.maximum(heads, own)  # the arc's ends; strictly between them are `inner` places
    inner, found = np.where(known, last - first - 1, 0), np.zeros(len(heads), bool)
    for power in range(int(level.max(initial=1)).bit_length()):
        here = at[(inner >> power) == 1]
        if len(here):
            one, other = start[here] + first[here], start[here] + last[here] - 1 - (1 << power)
            found[here] = (np.minimum(least[one], least[other]) < first[here]) | (
                np.maximum(most[one], most[other]) > last[here]
            )
        step = min(1 << power, len(heads))
        least = np.minimum(least, np.append(least[step:], np.full(step, len(heads) + 1)))
        most = np.maximum(most, np.append(most[step:], np.full(step, -1)))
    return found
