"""Keys along a plate that are not which element it is: elements follow one another whatever their keys leave out."""

from collections.abc import Mapping, Sequence

import numpy as np

from vispec.train.data.columns import Array
from vispec.train.data.encoding.labels import is_whole


def places(codes: Array, outer: Sequence[Array], shared: bool) -> Array:
    """For each row which element of a plate it is, from 0: of all, or of those in the same element of the outer plates."""
    if shared:
        return codes
    pairs, back = np.unique(np.stack([*outer, codes]), axis=1, return_inverse=True)
    new = np.arange(pairs.shape[1]) == 0
    if outer:
        new[1:] = (pairs[:-1, 1:] != pairs[:-1, :-1]).any(0)
    starts = np.flatnonzero(new)
    first = np.repeat(starts, np.diff(np.append(starts, len(new))))
    return (np.arange(len(new)) - first)[back.reshape(-1)]


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
