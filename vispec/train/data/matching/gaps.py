"""Keys along a chain that leave some out: elements follow one another all the same."""

from collections.abc import Mapping, Sequence

import numpy as np

from vispec.train.data.columns import Array
from vispec.train.data.encoding.labels import is_whole


def first_gap(labels: Sequence[str], codes: Array, outer: Mapping[str, Array]) -> tuple[int, str, str] | None:
    """A row, its key and the next one in the same element of the outer plates, where whole numbers leave out some that the
    smallest step between two would reach; None where none are left out."""
    if not labels or not all(map(is_whole, labels)) or not len(codes):
        return None
    numbers = np.array([int(label) for label in labels], object)[codes]
    order = np.lexsort((codes, *outer.values()))
    same = np.ones(len(order) - 1, bool)
    for code in outer.values():
        same &= code[order][1:] == code[order][:-1]
    steps = np.where(same, numbers[order][1:] - numbers[order][:-1], 0)
    least = min((step for step in steps.tolist() if step > 0), default=0)
    wide = np.flatnonzero(steps > least)
    if not len(wide):
        return None
    row, following = int(order[wide[0]]), int(order[wide[0] + 1])
    return row, str(numbers[row]), str(numbers[following])
