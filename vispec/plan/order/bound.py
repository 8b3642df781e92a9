"""What any order must take at the least, from the factors alone: whatever is unrolled, whichever latent comes first."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, prod

from vispec.plan.order.refuse import ABSURD
from vispec.plan.order.state import State
from vispec.program.axis import Axis


def least_terms(state: State) -> int:
    """At least so many terms has the largest sum of any order.

    Each element of a latent is coupled with all elements of the others that a factor reads with it, in the plates that the
    others have alone. Among any set of latents, the first that is summed out touches all its neighbours in the set."""
    near = neighbours(state)
    most, left = 1, set(near)
    while left:
        sizes = {v: log2(max(state.numbers.of(v), 1)) for v in left}
        bits = {v: sizes[v] + sum(sizes[u] * number for u, number in near[v].items() if u in left) for v in left}
        least = min(sorted(left, key=lambda v: v.serial), key=lambda v: bits[v])
        most = max(most, touched(state, least, {u: n for u, n in near[least].items() if u in left}, bits[least]))
        left.remove(least)
    return most


def neighbours(state: State) -> dict[Axis, dict[Axis, int]]:
    """For each latent the others that some factor reads with it, and with how many elements of them one of its own is."""
    near: dict[Axis, dict[Axis, int]] = {}
    for piece in state.pieces:
        read = [v for v in piece.axes if v in state.latents and v not in state.held and state.latents[v].shape is None]
        for v in read:
            for u in read:
                if u is not v:
                    apart = state.latents[u].plates - state.latents[v].plates
                    near.setdefault(v, {})[u] = state.numbers.elements(apart)
    return near


def touched(state: State, v: Axis, near: Mapping[Axis, int], bits: float) -> int:
    """The product of the sizes; ABSURD where it is no number that one could read."""
    if bits > log2(10) * 1000:
        return ABSURD
    return state.numbers.of(v) * prod(state.numbers.of(u) ** number for u, number in near.items())
